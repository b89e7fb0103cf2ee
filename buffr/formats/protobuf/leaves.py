"""What stands in the fields of messages: as a text that can be searched, and where on the wire.

A value can then be replaced in a message that is otherwise left as its program
wrote it. The lengths of all messages around it change with it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto

import msgspec
from attrs import define, field, frozen

from buffr.formats.protobuf.wire import (
    DEEPEST,
    WireField,
    WireType,
    bytes_shown,
    fields,
    read_varint,
    varint,
)

__all__ = ["FieldKind", "FieldLayout", "Layout", "Leaf", "Leaves", "Replacement"]

Replacement = tuple[int, int, bytes]
"""Where the old bytes start and end, and the new ones."""

_encode = msgspec.json.Encoder().encode


class FieldKind(Enum):
    """What a field holds."""

    TEXT = auto()
    BYTES = auto()
    VARINT = auto()
    FIXED32 = auto()
    FIXED64 = auto()
    WORD = auto()
    """A truth value, or a name of an enumeration: never a secret."""
    MESSAGE = auto()
    GROUP = auto()
    MAP = auto()


_WIRE_TYPES = {
    FieldKind.VARINT: WireType.VARINT,
    FieldKind.WORD: WireType.VARINT,
    FieldKind.FIXED32: WireType.FIXED32,
    FieldKind.FIXED64: WireType.FIXED64,
    FieldKind.GROUP: WireType.GROUP,
}
_PACKED = frozenset((FieldKind.VARINT, FieldKind.WORD, FieldKind.FIXED32, FieldKind.FIXED64))
_SIZES = {FieldKind.FIXED32: 4, FieldKind.FIXED64: 8}
_KEY, _VALUE = 1, 2
"""The fields of an entry of a map; those of ``Any`` have the same numbers: type, content."""


@frozen(eq=False)
class FieldLayout:
    """A field of a type. ``inner`` is the layout of the message in it, or of the map's entry."""

    name: str
    kind: FieldKind
    repeated: bool = False
    inner: Callable[[], Layout] | None = None


@frozen(eq=False)
class Layout:
    """The fields of a type by their numbers.

    ``bare``: a value of this type stands for its only field, as the types of
    ``Struct`` and the wrappers do. ``content`` finds the type that an ``Any``
    holds, by its URL.
    """

    fields: Mapping[int, FieldLayout]
    bare: bool = False
    content: Callable[[str], Layout | None] | None = None


@frozen
class Leaf:
    """A value at ``data[start:end]``, and at ``text[at:to]`` without quotes.

    ``box`` is the number of the message around it. ``base64``: its bytes are
    not a text. ``opaque``: it is not in the text, as its type is unknown.
    """

    length_at: int
    start: int
    end: int
    box: int
    at: int = 0
    to: int = 0
    kind: FieldKind = FieldKind.BYTES
    base64: bool = False
    opaque: bool = False
    packed: bool = False

    def zeros(self, data: bytes) -> bytes:
        """As many numbers as are here, all zero."""
        if self.kind is not FieldKind.VARINT:
            return bytes(self.end - self.start)
        content = data[self.start : self.end]
        return bytes(sum(1 for byte in content if byte < 0x80))  # each number's last byte


@frozen
class _Box:
    """A message with its length, at ``data[start:end]``; ``outer`` is the one around it."""

    length_at: int
    start: int
    end: int
    outer: int


@define(eq=False)
class Leaves:
    """The leaves of a message, in ``text`` with the names of their fields.

    With ``cut``, the message may end within a field. Raises ``ValueError`` if
    the bytes are no message of this layout.
    """

    data: bytes
    layout: Layout
    cut: bool = False
    text: bytearray = field(factory=bytearray)
    leaves: list[Leaf] = field(factory=list, init=False)
    _boxes: list[_Box] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._message(0, len(self.data), self.layout, -1, DEEPEST)

    def replacements(self, changed: Mapping[int, bytes]) -> list[Replacement]:
        """What to replace so that leaves, by their numbers, have other bytes."""
        found: list[Replacement] = []
        grown = [0] * (len(self._boxes) + 1)  # the last one stands for the whole
        for number, content in changed.items():
            leaf = self.leaves[number]
            prefix = varint(len(content)) if leaf.length_at < leaf.start else b""
            found.append((leaf.length_at, leaf.end, prefix + content))
            grown[leaf.box] += len(prefix) + len(content) - (leaf.end - leaf.length_at)
        for number in range(len(self._boxes) - 1, -1, -1):  # inner ones come after outer ones
            box = self._boxes[number]
            if grown[number]:
                prefix = varint(box.end - box.start + grown[number])
                found.append((box.length_at, box.start, prefix))
                grown[box.outer] += grown[number] + len(prefix) - (box.start - box.length_at)
        return sorted(found)

    def _message(self, start: int, end: int, layout: Layout, box: int, room: int) -> None:
        if not room:
            raise ValueError("it is nested too deeply")
        by_number = self._by_number(start, end)
        if layout.bare:
            self._bare(by_number, layout, box, room)
            return
        self.text += b"{"
        if layout.content is not None:
            self._any(by_number, layout.content, box, room)
        else:
            self._members(by_number, layout, box, room)
        self.text += b"}"

    def _by_number(self, start: int, end: int) -> dict[int, list[WireField]]:
        found: dict[int, list[WireField]] = {}
        for one in fields(self.data, start, end, cut=self.cut):
            found.setdefault(one.number, []).append(one)
        return found

    def _members(
        self, by_number: Mapping[int, list[WireField]], layout: Layout, box: int, room: int
    ) -> None:
        between = b"" if self.text.endswith(b"{") else b","
        for number in sorted(by_number):
            known = layout.fields.get(number)
            found = self._of_kind(by_number[number], known, box)
            if known is not None and found:
                self.text += between + _encode(known.name) + b":"
                self._values(found, known, box, room)
                between = b","

    def _of_kind(
        self, found: Iterable[WireField], known: FieldLayout | None, box: int
    ) -> list[WireField]:
        """Those that are on the wire as they should be; the others are opaque."""
        fitting = []
        for one in found:
            if known is not None and _fits(one.type, known):
                fitting.append(one)
            elif one.type is WireType.LENGTH and one.end > one.start:
                leaf = Leaf(one.length_at, one.start, one.end, box, opaque=True)
                self.leaves.append(leaf)
        return fitting

    def _bare(
        self, by_number: Mapping[int, list[WireField]], layout: Layout, box: int, room: int
    ) -> None:
        kept = [
            (layout.fields[number], found)
            for number in sorted(by_number)
            if (found := self._of_kind(by_number[number], layout.fields.get(number), box))
        ]
        if len(kept) != 1:
            self.text += b"["
        for at, (known, found) in enumerate(kept):
            self.text += b"," if at else b""
            self._values(found, known, box, room)
        if len(kept) != 1:
            self.text += b"]"

    def _any(
        self,
        by_number: Mapping[int, list[WireField]],
        content: Callable[[str], Layout | None],
        box: int,
        room: int,
    ) -> None:
        for number, others in by_number.items():
            if number not in (_KEY, _VALUE):
                self._of_kind(others, None, box)
        url = ""
        self._of_kind(by_number.get(_KEY, ()), None, box)
        for one in by_number.get(_KEY, ()):
            url = self.data[one.start : one.end].decode("utf-8", "replace")
        self.text += b'"@type":' + _encode(url)
        layout = content(url)
        for one in by_number.get(_VALUE, ()):
            if one.type is WireType.LENGTH and not self._content(one, layout, box, room):
                self._of_kind((one,), None, box)

    def _content(self, one: WireField, layout: Layout | None, box: int, room: int) -> bool:
        """The members of what an ``Any`` holds; false if its bytes are not of this type."""
        if layout is None:
            return False
        before = len(self.text), len(self.leaves), len(self._boxes)
        inner = self._boxed(one, box)
        try:
            if layout.bare or layout.content is not None:
                self.text += b',"value":'
                self._message(one.start, one.end, layout, inner, room - 1)
                return True
            self._members(self._by_number(one.start, one.end), layout, inner, room - 1)
        except ValueError:
            del self.text[before[0] :], self.leaves[before[1] :], self._boxes[before[2] :]
            return False
        return True

    def _boxed(self, one: WireField, box: int) -> int:
        self._boxes.append(_Box(one.length_at, one.start, one.end, box))
        return len(self._boxes) - 1

    def _values(self, found: list[WireField], known: FieldLayout, box: int, room: int) -> None:
        """The values of a field: a list if there may be, or are, several."""
        if known.kind is FieldKind.MAP:
            self._map(found, known, box, room)
            return
        several = known.repeated or len(found) > 1
        if several:
            self.text += b"["
        for at, one in enumerate(found):
            self.text += b"," if at else b""
            self._value(one, known, box, room)
        if several:
            self.text += b"]"

    def _value(self, one: WireField, known: FieldLayout, box: int, room: int) -> None:
        kind = known.kind
        if kind in (FieldKind.MESSAGE, FieldKind.GROUP):
            assert known.inner is not None
            inner = self._boxed(one, box) if kind is FieldKind.MESSAGE else box
            self._message(one.start, one.end, known.inner(), inner, room - 1)
        elif kind in (FieldKind.TEXT, FieldKind.BYTES):
            self._text(one, kind, box)
        else:
            self._number(one, kind, box)

    def _text(self, one: WireField, kind: FieldKind, box: int) -> None:
        content = self.data[one.start : one.end]
        shown = bytes_shown(content)
        base64 = not isinstance(shown, str)
        self.text += b'"'
        at = len(self.text)
        self.text += b64encode(content) if base64 else _encode(shown)[1:-1]
        self.leaves.append(
            Leaf(one.length_at, one.start, one.end, box, at, len(self.text), kind, base64)
        )
        self.text += b'"'

    def _number(self, one: WireField, kind: FieldKind, box: int) -> None:
        at, packed = len(self.text), one.type is WireType.LENGTH
        if packed:
            self.text += b",".join(b"%d" % number for number in self._packed(one, kind))
        elif kind in _SIZES:
            self.text += b"%d" % int.from_bytes(self.data[one.start : one.end], "little")
        else:
            self.text += b"%d" % read_varint(self.data, one.start, one.end)[0]
        if kind is not FieldKind.WORD and len(self.text) > at:
            place = one.length_at, one.start, one.end, box, at, len(self.text)
            self.leaves.append(Leaf(*place, kind, packed=packed))

    def _packed(self, one: WireField, kind: FieldKind) -> Iterable[int]:
        size, at = _SIZES.get(kind), one.start
        while at < one.end:
            if size is None:
                number, at = read_varint(self.data, at, one.end)
            else:
                number, at = int.from_bytes(self.data[at : at + size], "little"), at + size
            yield number

    def _map(self, found: list[WireField], known: FieldLayout, box: int, room: int) -> None:
        assert known.inner is not None
        layout = known.inner()
        self.text += b"{"
        for at, entry in enumerate(found):
            self.text += b"," if at else b""
            inner = self._boxed(entry, box)
            self._entry(self._by_number(entry.start, entry.end), layout, inner, room)
        self.text += b"}"

    def _entry(
        self, by_number: dict[int, list[WireField]], layout: Layout, box: int, room: int
    ) -> None:
        of_keys, of_values = layout.fields[_KEY], layout.fields[_VALUE]
        keys = self._of_kind(by_number.pop(_KEY, ()), of_keys, box)
        values = self._of_kind(by_number.pop(_VALUE, ()), of_values, box)
        for others in by_number.values():
            self._of_kind(others, None, box)
        if not keys:
            self.text += b'""'
        elif of_keys.kind is FieldKind.TEXT:
            self._text(keys[-1], of_keys.kind, box)
            self._of_kind(keys[:-1], None, box)
        else:
            self.text += b'"'
            self.text += b"%d" % int.from_bytes(self.data[keys[-1].start : keys[-1].end], "little")
            self.text += b'"'
        self.text += b":"
        if values:
            self._values(values, of_values, box, room)
        else:
            self.text += b"null"


def _fits(found: WireType, known: FieldLayout) -> bool:
    if found is _WIRE_TYPES.get(known.kind, WireType.LENGTH):
        return True
    return found is WireType.LENGTH and known.repeated and known.kind in _PACKED
