"""What ``.proto`` files declare, as ``protoc`` compiles them: services, methods and types.

Imported only where there are descriptors: it needs the package ``protobuf``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from google.protobuf import (
    any_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message

from buffr.formats.protobuf.bodies import BadDescriptors, Method
from buffr.formats.protobuf.document import BARE, WELL_KNOWN_FILES, Documents, NotAMessage
from buffr.formats.protobuf.leaves import FieldKind, FieldLayout, Layout

__all__ = ["Descriptors", "files_in", "merged"]

LARGEST_BYTES = 64 << 20
_MOST_FILES = 10_000
_FORGOTTEN = "compile them with protoc --include_imports"

_OWN_FILES: Mapping[str, bytes] = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        *(any_pb2, duration_pb2, empty_pb2, field_mask_pb2),
        *(struct_pb2, timestamp_pb2, wrappers_pb2),
    )
}
"""The library's own files: those of a set are not trusted to mean what their names say."""


_KINDS = {
    FieldDescriptor.TYPE_STRING: FieldKind.TEXT,
    FieldDescriptor.TYPE_BYTES: FieldKind.BYTES,
    FieldDescriptor.TYPE_BOOL: FieldKind.WORD,
    FieldDescriptor.TYPE_ENUM: FieldKind.WORD,
    FieldDescriptor.TYPE_MESSAGE: FieldKind.MESSAGE,
    FieldDescriptor.TYPE_GROUP: FieldKind.GROUP,
    FieldDescriptor.TYPE_FLOAT: FieldKind.FIXED32,
    FieldDescriptor.TYPE_FIXED32: FieldKind.FIXED32,
    FieldDescriptor.TYPE_SFIXED32: FieldKind.FIXED32,
    FieldDescriptor.TYPE_DOUBLE: FieldKind.FIXED64,
    FieldDescriptor.TYPE_FIXED64: FieldKind.FIXED64,
    FieldDescriptor.TYPE_SFIXED64: FieldKind.FIXED64,
}


def files_in(data: bytes) -> tuple[FileDescriptorProto, ...]:
    """The files of a ``FileDescriptorSet``. Raises ``BadDescriptors``."""
    if len(data) > LARGEST_BYTES:
        raise BadDescriptors(f"is larger than {LARGEST_BYTES >> 20} MiB")
    found = FileDescriptorSet()
    try:
        found.ParseFromString(data)
    except DecodeError as error:
        raise BadDescriptors(_not_a_set(data)) from error
    if not found.file or not all(one.name for one in found.file):
        raise BadDescriptors(_not_a_set(data))
    return tuple(found.file)


def _not_a_set(data: bytes) -> str:
    if b"syntax" in data[:4096] or b"message " in data or b"service " in data:
        return "is a .proto file, not a compiled one"
    return "is not a FileDescriptorSet"


@define(eq=False)
class _MessageType:
    """A type of messages, with its class in the library."""

    made: type[Message]
    documents: Documents
    layout: Layout

    @property
    def name(self) -> str:
        return str(self.made.DESCRIPTOR.full_name)

    def document(self, data: bytes) -> Any:
        """A message as a document. Raises ``NotAMessage``."""
        try:
            return self.documents.of(self.made.FromString(data))
        except DecodeError as error:
            raise NotAMessage(f"it is not a {self.name}") from error


@define(eq=False)
class Descriptors:
    """The services and types of some files.

    ``files`` are as given; the well-known types need not be among them.
    Raises ``BadDescriptors``.
    """

    files: Mapping[str, FileDescriptorProto]
    _pool: descriptor_pool.DescriptorPool = field(init=False)
    _documents: Documents = field(init=False)
    _layouts: dict[str, Layout] = field(factory=dict, init=False)
    _methods: dict[tuple[str, str], Method | None] = field(factory=dict, init=False)

    @classmethod
    def of(cls, files: Sequence[FileDescriptorProto]) -> Descriptors:
        """Of files in any order. Raises ``BadDescriptors``."""
        if len(files) > _MOST_FILES:
            raise BadDescriptors(f"has more than {_MOST_FILES} files")
        return cls({one.name: one for one in files})

    @classmethod
    def reflected(cls, files: Iterable[bytes]) -> Descriptors:
        """Of files that came one by one. Raises ``BadDescriptors``."""
        try:
            return cls.of([FileDescriptorProto.FromString(one) for one in files])
        except DecodeError as error:
            raise BadDescriptors("is not a file descriptor") from error

    def __attrs_post_init__(self) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._documents = Documents(self._class_named)
        for name in _in_order(self.files):
            try:
                if name in _OWN_FILES:
                    self._pool.AddSerializedFile(_OWN_FILES[name])
                else:
                    self._pool.Add(self.files[name])
            except (TypeError, ValueError) as error:
                raise BadDescriptors(f"{name}: {error}") from error

    def method(self, service: str, name: str) -> Method | None:
        """A method of a service, by its full name; ``None`` if it is not declared."""
        known = self._methods
        if (service, name) not in known:
            found = self._method(service, name)
            if found is None:
                return None  # whatever clients make up is not remembered
            known[service, name] = found
        return known[service, name]

    def _method(self, service: str, name: str) -> Method | None:
        try:
            found = self._pool.FindServiceByName(service).methods_by_name[name]
        except KeyError:
            return None
        return Method(
            self._type(found.input_type),
            self._type(found.output_type),
            client_streams=found.client_streaming,
            server_streams=found.server_streaming,
        )

    def _type(self, described: Descriptor) -> _MessageType:
        made = message_factory.GetMessageClass(described)
        return _MessageType(made, self._documents, self._layout(described))

    def _layout(self, described: Descriptor) -> Layout:
        """What is needed to find the fields of a type on the wire."""
        name = described.full_name
        known = self._layouts.get(name)
        if known is None:
            numbered = {one.number: self._field_layout(one) for one in described.fields}
            for extension in self._pool.FindAllExtensions(described):
                numbered[extension.number] = self._field_layout(extension)
            own = described.file.name in WELL_KNOWN_FILES
            holds = self._layout_at if own and described.name == "Any" else None
            known = Layout(numbered, own and described.name in BARE, holds)
            self._layouts[name] = known
        return known

    def _field_layout(self, declared: FieldDescriptor) -> FieldLayout:
        name = f"[{declared.full_name}]" if declared.is_extension else declared.name
        kind = _KINDS.get(declared.type, FieldKind.VARINT)
        inner = declared.message_type
        if inner is None:
            return FieldLayout(name, kind, declared.is_repeated)
        if inner.GetOptions().map_entry and declared.is_repeated:
            kind = FieldKind.MAP
        return FieldLayout(name, kind, declared.is_repeated, partial(self._layout, inner))

    def _layout_at(self, url: str) -> Layout | None:
        try:
            return self._layout(self._pool.FindMessageTypeByName(url.rpartition("/")[2]))
        except KeyError:
            return None

    def _class_named(self, name: str) -> type[Message] | None:
        try:
            return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))
        except KeyError:
            return None

    def behind(self, service: str) -> bytes:
        """The files that a service needs, its own among them, as a ``FileDescriptorSet``.

        Raises ``KeyError`` if it is not declared.
        """
        name = self._pool.FindServiceByName(service).file.name
        needed = {name: self.files[name]}
        waiting = [name]
        while waiting:
            for imported in self.files[waiting.pop()].dependency:
                if imported in self.files and imported not in needed:
                    needed[imported] = self.files[imported]
                    waiting.append(imported)
        return _set_of(needed)


def merged(old: bytes, new: bytes) -> bytes:
    """The ``FileDescriptorSet`` with the files of both; of the new one alone if they do not fit.

    Of a file that both have, the new one is taken.
    """
    files = {one.name: one for one in files_in(new)}
    try:
        both = {one.name: one for one in files_in(old)} | files
        Descriptors(both)
    except BadDescriptors:
        both = files
    return _set_of(both)


def _set_of(files: Mapping[str, FileDescriptorProto]) -> bytes:
    whole = FileDescriptorSet(file=[files[name] for name in sorted(files)])
    return whole.SerializeToString(deterministic=True)


def _in_order(files: Mapping[str, FileDescriptorProto]) -> Iterator[str]:
    """The names of all files, each after those that it imports. Raises ``BadDescriptors``."""
    done: set[str] = set()
    for first in files:
        under_way: dict[str, Iterator[str]] = {}
        if first not in done:
            under_way[first] = iter(files[first].dependency)
        while under_way:
            name = next(reversed(under_way))
            imported = next((one for one in under_way[name] if one not in done), None)
            if imported is None:
                del under_way[name]
                done.add(name)
                yield name
            elif imported in under_way:
                raise BadDescriptors(f"{imported} imports itself")
            elif imported in files and imported not in _OWN_FILES:
                under_way[imported] = iter(files[imported].dependency)
            elif imported in _OWN_FILES:
                under_way[imported] = iter(_imports_of_own(imported))
            else:
                raise BadDescriptors(f"{name} imports {imported}, which is missing; {_FORGOTTEN}")


def _imports_of_own(name: str) -> Sequence[str]:
    return FileDescriptorProto.FromString(_OWN_FILES[name]).dependency


assert _OWN_FILES.keys() == WELL_KNOWN_FILES
