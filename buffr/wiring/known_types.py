"""What is known of protobuf's messages: the descriptors that settings name, and cassettes keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import define, field

from buffr.config.route import GrpcSettings, RouteSettings
from buffr.exchanges.reflection import Reflection
from buffr.formats.protobuf.bodies import Declarations, MessageTypes
from buffr.interaction import Interaction
from buffr.stores.cassette.descriptor_file import DescriptorFile, declarations_in
from buffr.stores.interactions import SetName

__all__ = ["KnownTypes"]


@define(eq=False)
class KnownTypes:
    """Reads each file once. Routes with one cassette share what is known of its messages."""

    _warn: Callable[[str], None]
    _file_mode: int
    _files: dict[Path, Declarations] = field(init=False, factory=dict)
    _places: dict[Path | SetName, MessageTypes] = field(init=False, factory=dict)
    _beside: dict[Path, DescriptorFile] = field(init=False, factory=dict)

    def of(self, settings: GrpcSettings) -> MessageTypes:
        """What settings declare. Raises ``ConfigError``."""
        return MessageTypes(tuple([self._file(path) for path in settings.grpc_descriptors]))

    def of_place(self, place: Path | SetName, settings: GrpcSettings) -> MessageTypes:
        """What settings declare, and what is known of the messages in a cassette or set.

        Raises ``ConfigError``.
        """
        types = self.at(place)
        for path in reversed(settings.grpc_descriptors):
            declared = self._file(path)
            if declared not in types.declared:
                types.add(declared, first=True)
        return types

    def at(self, place: Path | SetName) -> MessageTypes:
        """What is known of the messages in a cassette or set, now and later."""
        real = _real(place)
        types = self._places.get(real)
        if types is None:
            types = self._places[real] = MessageTypes()
            if isinstance(real, Path):
                self._beside[real] = DescriptorFile.beside(real, types, self._warn, self._file_mode)
        return types

    def keeping(self, place: Path | SetName) -> Callable[[Interaction], None] | None:
        """What keeps descriptors beside a cassette, for each interaction that is recorded."""
        self.at(place)
        beside = self._beside.get(place.resolve()) if isinstance(place, Path) else None
        return None if beside is None else beside.keep

    def reflection(
        self, reactor: Any, row: RouteSettings, types: MessageTypes
    ) -> Reflection | None:
        """What asks a route's upstream for what ``types`` lack, if it is to be asked."""
        limit_s = row.grpc.grpc_reflection_s
        if not (row.mode.records and limit_s and _has_protobuf()):
            return None
        return Reflection(reactor, types, _reflected, limit_s)

    def _file(self, path: Path) -> Declarations:
        real = path.resolve()
        known = self._files.get(real)
        if known is None:
            known = self._files[real] = declarations_in(path, "grpc.descriptors")
        return known


@cache
def _has_protobuf() -> bool:
    try:
        return find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        return False


def _reflected(files: Iterable[bytes]) -> Declarations:
    # Few routes lead to a server of gRPC.
    from buffr.formats.protobuf.descriptors import Descriptors  # noqa: PLC0415

    return Descriptors.reflected(files)


def _real(place: Path | SetName) -> Path | SetName:
    return place.resolve() if isinstance(place, Path) else place
