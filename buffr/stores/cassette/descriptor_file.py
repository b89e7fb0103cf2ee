"""Descriptors in files: those that are given, and those kept beside a cassette.

Beside ``greeter.json`` is ``greeter.descriptors.pb``, a ``FileDescriptorSet``
of the services that were recorded. With it the cassette's messages can be read,
compared and redacted wherever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from attrs import define, field

from buffr.errors import ConfigError
from buffr.formats.protobuf.bodies import BadDescriptors, Declarations, MessageTypes
from buffr.interaction import Interaction
from buffr.message import media_type

__all__ = ["DescriptorFile", "declarations_in", "descriptors_beside"]

_ABSENT = (FileNotFoundError, NotADirectoryError)
_SUFFIX = ".descriptors.pb"
_PROTOC = "protoc --include_imports --descriptor_set_out={out} {source}"
_INSTALL = "pip install 'buffr-proxy[grpc]'"


def descriptors_beside(cassette: Path) -> Path:
    """Where the descriptors of a cassette are kept."""
    return cassette.with_name(cassette.name.removesuffix(".json") + _SUFFIX)


def declarations_in(path: Path, where: str) -> Declarations:
    """What a file declares. Raises ``ConfigError``, which names the setting ``where`` it is."""
    said = f"{where}: {path}"
    try:
        return _declarations(path.read_bytes())
    except ImportError as error:
        raise ConfigError(f"{said}: needs the package protobuf", hint=_INSTALL) from error
    except OSError as error:
        raise ConfigError(f"{said}: {error.strerror}") from error
    except BadDescriptors as error:
        names = {"out": path.with_suffix(".pb").name, "source": path.with_suffix(".proto").name}
        hint = f"make it with {_PROTOC.format(**names)}"
        raise ConfigError(f"{said}: {error}", hint=hint) from error


def _declarations(data: bytes) -> Declarations:
    """Raises ``BadDescriptors``, ``ImportError``."""
    # Few cassettes have messages of protobuf.
    from buffr.formats.protobuf.descriptors import Descriptors, files_in  # noqa: PLC0415

    return Descriptors.of(files_in(data))


@define(eq=False)
class DescriptorFile:
    """The file beside a cassette. ``types`` are what is known of its messages, with the file's.

    ``mode`` are the permissions of a file that is written.
    """

    path: Path
    types: MessageTypes
    warn: Callable[[str], None]
    mode: int = 0o600
    _kept: set[str] = field(factory=set, init=False)

    @classmethod
    def beside(
        cls, cassette: Path, types: MessageTypes, warn: Callable[[str], None], mode: int = 0o600
    ) -> DescriptorFile:
        """The file of a cassette, read if it exists. What it lacks for that is warned of."""
        made = cls(descriptors_beside(cassette), types, warn, mode)
        with suppress(*_ABSENT):
            try:
                types.add(_declarations(made.path.read_bytes()))
            except ImportError:
                warn(f"{made.path}: needs the package protobuf: {_INSTALL}")
            except (OSError, BadDescriptors) as error:
                if isinstance(error, _ABSENT):
                    raise
                warn(f"{made.path}: cannot be read: {error}; messages are compared by their bytes")
        return made

    def keep(self, interaction: Interaction) -> None:
        """Have what declares an interaction's messages in the file, too. For any thread."""
        request = interaction.request
        messages = self.types.of_request(request.target, media_type(request.headers))
        if messages is None or messages.type is None:
            return
        found = self.types.declaring(request.target)
        if found is None or found[0] in self._kept:
            return
        service, declared = found
        self._kept.add(service)
        more = declared.behind(service)
        try:
            self._add(more)
        except OSError as error:
            self.warn(f"{self.path}: cannot be written: {error.strerror}")

    def _add(self, more: bytes) -> None:
        """Raises ``OSError``."""
        from buffr.formats.protobuf.descriptors import merged  # noqa: PLC0415  # as above

        before = b""
        with suppress(FileNotFoundError):
            before = self.path.read_bytes()
        whole = merged(before, more)
        if whole == before:
            return
        with NamedTemporaryFile(dir=self.path.parent, prefix=self.path.name, delete=False) as file:
            try:
                file.write(whole)
                file.close()
                Path(file.name).chmod(self.mode)
                Path(file.name).rename(self.path)
            except BaseException:
                Path(file.name).unlink()
                raise
