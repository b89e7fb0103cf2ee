"""Messages as documents: what JSON has, with fields by the names in their ``.proto`` file.

Two messages that mean the same have one document, however they were spelled:
fields in any order, packed or not, maps in any order, a default written out
where it makes no difference. Fields that the type does not have are there by
number. Unlike JSON as protobuf defines it, bytes that are a text are one, 64
bits are a number, and what defines JSON itself (``Struct``, the wrappers) and
times are as there.

https://protobuf.dev/programming-guides/json/
"""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import frozen
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from buffr.formats.protobuf.wire import DEEPEST, WireType, bytes_shown, fixed_shown

__all__ = ["BARE", "WELL_KNOWN_FILES", "Documents", "NotAMessage"]

WELL_KNOWN_FILES = frozenset(
    f"google/protobuf/{name}.proto"
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
)
"""The files of the types that JSON spells in a way of their own."""

_WRAPPERS = tuple(
    f"{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
BARE = frozenset((*_WRAPPERS, "Struct", "Value", "ListValue"))
"""Well-known types whose values stand for what is in them."""

_PRECISIONS = range(6, 10)
_MOST_EXACT = 1 << 53


class NotAMessage(ValueError):
    """Bytes are no message of this type, or one that is nested too deeply."""


class _WellKnown(Protocol):
    """What the library's class of a time or a mask does."""

    def ToJsonString(self) -> str: ...


@frozen
class _Plan:
    """How a field is written."""

    name: str
    write: Callable[[Any, int], Any]


class Documents:
    """Writes messages as documents. ``class_of`` finds the class of a type for ``Any``, by name."""

    def __init__(self, class_of: Callable[[str], type[Message] | None]) -> None:
        self._class_of = class_of
        self._plans: dict[FieldDescriptor, _Plan] = {}
        self._special: Mapping[str, Callable[[Any, int], Any]] = {
            "Any": self._any,
            "Duration": _time,
            "FieldMask": _time,
            "ListValue": self._list_value,
            "Struct": self._struct,
            "Timestamp": _time,
            "Value": self._value,
            **dict.fromkeys(_WRAPPERS, self._wrapper),
        }

    def of(self, message: Message) -> Any:
        """A message as a document. Raises ``NotAMessage``."""
        return self._message(message, DEEPEST)

    def _message(self, message: Message, room: int) -> Any:
        if room <= 0:
            raise NotAMessage("it is nested too deeply")
        described = message.DESCRIPTOR
        if described.file.name in WELL_KNOWN_FILES and not len(UnknownFieldSet(message)):
            special = self._special.get(described.name)
            if special is not None:
                try:
                    return special(message, room)
                except (ValueError, OverflowError) as error:  # a time outside of its range
                    if isinstance(error, NotAMessage):
                        raise
        return self._members(message, room)

    def _members(self, message: Message, room: int) -> dict[str, Any]:
        plans = self._plans
        found: dict[str, Any] = {}
        for field, value in message.ListFields():
            plan = plans.get(field)
            if plan is None:
                plan = plans[field] = self._plan(field)
            found[plan.name] = plan.write(value, room - 1)
        unknown = UnknownFieldSet(message)
        if len(unknown):
            found.update(_unknown(unknown, room - 1))
        return found

    def _plan(self, field: FieldDescriptor) -> _Plan:
        name = f"[{field.full_name}]" if field.is_extension else field.name
        inner: Descriptor | None = field.message_type
        if inner is not None and inner.GetOptions().map_entry and field.is_repeated:
            value = self._scalar(inner.fields_by_name["value"])
            return _Plan(
                name,
                lambda entries, room: {
                    _key(key): value(entries[key], room) for key in sorted(entries)
                },
            )
        write = self._scalar(field)
        if field.is_repeated:
            return _Plan(name, lambda values, room: [write(one, room) for one in values])
        return _Plan(name, write)

    def _scalar(self, field: FieldDescriptor) -> Callable[[Any, int], Any]:
        match field.type:
            case FieldDescriptor.TYPE_MESSAGE | FieldDescriptor.TYPE_GROUP:
                return self._message
            case FieldDescriptor.TYPE_ENUM:
                assert field.enum_type is not None
                names = {one.number: one.name for one in reversed(field.enum_type.values)}
                return lambda number, _: names.get(number, number)
            case FieldDescriptor.TYPE_BYTES:
                return lambda content, _: bytes_shown(content)
            case FieldDescriptor.TYPE_FLOAT:
                return lambda number, _: _number(number, _shortest)
            case FieldDescriptor.TYPE_DOUBLE:
                return lambda number, _: _number(number, float)
        return lambda value, _: value

    def _any(self, message: Any, room: int) -> Any:
        url: str = message.type_url
        found = self._class_of(url.rpartition("/")[2])
        if found is not None:
            try:
                content = self._message(found.FromString(message.value), room - 2)
            except (DecodeError, NotAMessage):
                pass
            else:
                named = content if _is_plain(found) else {"value": content}
                return {"@type": url, **named}
        value = {"base64": b64encode(message.value).decode("ascii")}
        return {"@type": url, **({"value": value} if message.value else {})}

    def _struct(self, message: Any, room: int) -> Any:
        return {name: self._message(message.fields[name], room - 1) for name in message.fields}

    def _list_value(self, message: Any, room: int) -> Any:
        return [self._message(one, room - 1) for one in message.values]

    def _value(self, message: Any, room: int) -> Any:
        kind = message.WhichOneof("kind")
        if kind is None or kind == "null_value":
            return None
        if kind in ("struct_value", "list_value"):
            return self._message(getattr(message, kind), room - 1)
        if kind == "number_value":
            return _number(message.number_value, _whole)
        return getattr(message, kind)

    def _wrapper(self, message: Any, room: int) -> Any:
        return self._scalar(message.DESCRIPTOR.fields_by_name["value"])(message.value, room)


def _is_plain(found: type[Message]) -> bool:
    """Whether the document of a type is an object of its fields."""
    return found.DESCRIPTOR.file.name not in WELL_KNOWN_FILES


def _time(message: _WellKnown, _room: int) -> str:
    return message.ToJsonString()


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _number(number: float, spell: Callable[[float], Any]) -> Any:
    """JSON has no numbers that are infinite or none."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return spell(number)


def _shortest(number: float) -> float:
    """A number of 32 bits with no more digits than it has."""
    for digits in _PRECISIONS:
        short = float(f"{number:.{digits}g}")
        if math.isfinite(short) and _as_float(short) == number:
            return short
    return number


def _as_float(number: float) -> float | None:
    try:
        (found,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return None
    return float(found)


def _whole(number: float) -> float | int:
    """A number of JSON, without a fraction that it does not have."""
    return int(number) if number.is_integer() and abs(number) < _MOST_EXACT else number


def _unknown(unknown: UnknownFieldSet, room: int) -> dict[str, Any]:
    if room <= 0:
        raise NotAMessage("it is nested too deeply")
    found: dict[str, Any] = {}
    for at in range(len(unknown)):
        one = unknown[at]
        value: Any = one.data
        match one.wire_type:
            case WireType.LENGTH:
                value = bytes_shown(value)
            case WireType.GROUP:
                value = _unknown(value, room - 1)
            case WireType.FIXED32:
                value = fixed_shown(one.wire_type, value.to_bytes(4, "little"))
            case WireType.FIXED64:
                value = fixed_shown(one.wire_type, value.to_bytes(8, "little"))
        found.setdefault(str(one.field_number), []).append(value)
    return dict(sorted(found.items(), key=lambda item: int(item[0])))
