"""What is known of protobuf's messages: the descriptors that settings name."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from buffr.config.route import GrpcSettings
from buffr.errors import ConfigError
from buffr.formats.protobuf.bodies import BadDescriptors, Declarations, MessageTypes
from buffr.stores.interactions import SetName

__all__ = ["KnownTypes"]

_PROTOC = "protoc --include_imports --descriptor_set_out={out} {source}"


@define(eq=False)
class KnownTypes:
    """Reads each file once. Routes with one cassette share what is known of its messages."""

    _files: dict[Path, Declarations] = field(init=False, factory=dict)
    _places: dict[Path | SetName, MessageTypes] = field(init=False, factory=dict)

    def of(self, settings: GrpcSettings) -> MessageTypes:
        """What settings declare. Raises ``ConfigError``."""
        return MessageTypes(tuple([self._file(path) for path in settings.grpc_descriptors]))

    def at(self, place: Path | SetName) -> MessageTypes:
        """What is known of the messages in a cassette or set, now and later."""
        return self._places.setdefault(_real(place), MessageTypes())

    def of_place(self, place: Path | SetName, settings: GrpcSettings) -> MessageTypes:
        """What is known of the messages in a cassette or set, and what settings declare.

        Raises ``ConfigError``.
        """
        types = self.at(place)
        for path in settings.grpc_descriptors:
            declared = self._file(path)
            if declared not in types.declared:
                types.add(declared)
        return types

    def _file(self, path: Path) -> Declarations:
        real = path.resolve()
        known = self._files.get(real)
        if known is None:
            known = self._files[real] = _read(path)
        return known


def _real(place: Path | SetName) -> Path | SetName:
    return place.resolve() if isinstance(place, Path) else place


def _read(path: Path) -> Declarations:
    where = f"grpc.descriptors: {path}"
    try:
        # Few settings name any.
        from buffr.formats.protobuf.descriptors import Descriptors, files_in  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{where}: needs the package protobuf", hint="pip install 'buffr-proxy[grpc]'"
        ) from error
    try:
        return Descriptors.of(files_in(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from error
    except BadDescriptors as error:
        out = path.with_suffix(".pb").name
        source = path.with_suffix(".proto").name
        hint = f"make it with {_PROTOC.format(out=out, source=source)}"
        raise ConfigError(f"{where}: {error}", hint=hint) from error
