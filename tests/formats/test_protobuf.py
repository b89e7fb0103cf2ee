"""Messages as documents: by type, and by wire format alone."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protos import descriptor_set, descriptors, made, made_legacy

from buffr.formats.grpc import framed
from buffr.formats.protobuf.bodies import BadDescriptors, Messages, MessageTypes
from buffr.formats.protobuf.descriptors import Descriptors, files_in, merged
from buffr.formats.protobuf.document import NotAMessage
from buffr.formats.protobuf.wire import WireType, fields, raw_document, varint

ORDER = b"/shop.v1.Shop/Order"
TYPES = MessageTypes((descriptors(),))
_MOST = 1 << 20


def document(message: Any, method: str = "Order", service: str = "shop.v1.Shop") -> Any:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    found = descriptors().method(service, method)
    assert found is not None
    return found.request.document(data)


def messages(target: bytes = ORDER, media_type: bytes = b"application/grpc") -> Messages:
    found = TYPES.of_request(target, media_type)
    assert found is not None
    return found


def shuffled(data: bytes, random: Random) -> bytes:
    """A message with its fields in another order; those of one number stay in theirs."""
    by_number: dict[int, list[bytes]] = {}
    at = 0
    for one in fields(data, 0, len(data)):
        by_number.setdefault(one.number, []).append(data[at : one.end])
        at = one.end
    numbers = [number for number, pieces in by_number.items() for _ in pieces]
    random.shuffle(numbers)
    return b"".join(by_number[number].pop(0) for number in numbers)


def full_order() -> Any:
    order = made(
        "OrderRequest",
        quantities=[1, -2, 300],
        items=["a", "é"],
        card="4111",
        floor=0,
        picture=b"\xff\x00",
        size=1,
        weight=0.1,
        height=0.1,
        serial=2**64 - 1,
        change=-3,
        offset=-9,
        gift=True,
        ratios=[1.5, float("nan"), float("-inf")],
        user={"name": "bob", "id": 2**60, "labels": {"b": "2", "a": "1"}},
    )
    order.at.FromJsonString("2020-01-01T00:00:00Z")
    order.meta.update({"a": 1, "b": [None, True, {"c": "x"}]})
    order.note.value = "n"
    order.extra.Pack(order.user)
    order.guests["x"].name = "g"
    return order


class TestByType:
    def test_everything(self) -> None:
        user = {"name": "bob", "id": 2**60, "labels": {"a": "1", "b": "2"}}
        assert document(full_order()) == {
            "user": user,
            "quantities": [1, -2, 300],
            "items": ["a", "é"],
            "guests": {"x": {"name": "g"}},
            "card": "4111",
            "floor": 0,
            "picture": {"base64": "/wA="},
            "size": "SIZE_LARGE",
            "weight": 0.1,
            "height": 0.1,
            "at": "2020-01-01T00:00:00Z",
            "extra": {"@type": "type.googleapis.com/shop.v1.User", **user},
            "meta": {"a": 1, "b": [None, True, {"c": "x"}]},
            "note": "n",
            "serial": 2**64 - 1,
            "change": -3,
            "offset": -9,
            "gift": True,
            "ratios": [1.5, "NaN", "-Infinity"],
        }

    def test_proto2(self) -> None:
        ask = made_legacy(name="n", count=5, numbers=[1, 2])
        ask.inner.text = "t"
        found = document(ask, "Put", "shop.legacy.Legacy")
        assert found == {"name": "n", "count": 5, "numbers": [1, 2], "inner": {"text": "t"}}

    def test_an_extension_has_its_full_name(self) -> None:
        data = made_legacy(name="n").SerializeToString() + b"\xa2\x06\x03red"
        found = document(data, "Put", "shop.legacy.Legacy")
        assert found == {"name": "n", "[shop.legacy.colour]": "red"}

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (b"\x12\x03\x01\x02\x03", b"\x10\x01\x10\x02\x10\x03"),  # packed or not
            (b"", b"\xba\x01\x00"),  # a default written out
            (b"\x0a\x03\x0a\x01a\x0a\x02\x10\x05", b"\x0a\x05\x0a\x01a\x10\x05"),  # in two pieces
            (b"\x30\x07\x30\x08", b"\x30\x08"),  # the last one counts
            (b"\x30\x88\x00", b"\x30\x08"),  # a longer spelling of a number
            (b"\x22\x00\x22\x03\x0a\x01k", b"\x22\x03\x0a\x01k\x22\x00"),  # entries of a map
        ],
        ids=["packed", "default", "pieces", "last", "long number", "map"],
    )
    def test_equal_messages(self, one: bytes, other: bytes) -> None:
        assert document(one) == document(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (b"", b"\x38\x00"),  # an optional field has its presence
            (b"", b"\x7a\x00"),  # and so has a message
            (b"\x2a\x00", b"\x30\x00"),  # and a choice
            (b"\x12\x02\x01\x02", b"\x12\x02\x02\x01"),
            (b"\xc0\x3e\x05", b"\xc5\x3e\x05\x00\x00\x00"),  # of an unknown field, the wire type
            (b"\xc2\x3e\x01a", b"\xc2\x3e\x01b"),
            (b"\x42\x01\xff", b"\x42\x04/w=="),  # bytes, and a text that is their base64
        ],
        ids=["optional", "empty message", "choice", "order", "wire type", "unknown", "base64"],
    )
    def test_different_messages(self, one: bytes, other: bytes) -> None:
        assert document(one) != document(other)

    def test_unknown_fields_are_there_by_number(self) -> None:
        data = b"\xc0\x3e\x05\xc2\x3e\x02hi\xb8\x3e\x01"
        assert document(data) == {"999": [1], "1000": [5, "hi"]}

    @given(st.randoms(use_true_random=False), st.lists(st.integers(-(2**31), 2**31 - 1)), st.text())
    def test_the_order_of_fields_makes_no_difference(
        self, random: Random, quantities: list[int], name: str
    ) -> None:
        order = full_order()
        order.quantities.extend(quantities)
        order.user.name = name
        data = order.SerializeToString()
        other = shuffled(data, random)
        assert document(other) == document(data)

    @given(st.binary(max_size=200))
    def test_hostile_bytes(self, data: bytes) -> None:
        with suppress(NotAMessage):
            json.dumps(document(data), allow_nan=False)

    def test_too_deep(self) -> None:
        data = b""
        for _ in range(150):  # a list in a list, in Struct
            data = b"\x32" + varint(len(data) + 2) + b"\x0a" + varint(len(data)) + data
        value = b"\x72" + varint(len(data) + 3) + b"\x0a" + varint(len(data) + 1) + data
        with pytest.raises(NotAMessage):
            document(value)

    def test_any_in_any_in_any(self) -> None:
        inner = b""
        for _ in range(200):
            url = b"type.googleapis.com/google.protobuf.Any"
            inner = b"\x0a" + varint(len(url)) + url + b"\x12" + varint(len(inner)) + inner
        found = document(b"\x6a" + varint(len(inner)) + inner)
        assert "base64" in json.dumps(found)

    def test_a_time_outside_of_its_range_is_shown_by_its_fields(self) -> None:
        assert document(b"\x62\x02\x08\x01") == {"at": "1970-01-01T00:00:01Z"}
        assert document(b"\x62\x06\x10\xff\xff\xff\xff\x07") == {"at": {"nanos": 2147483647}}


class TestBodies:
    @pytest.mark.parametrize(
        ("media_type", "body"),
        [
            (b"application/grpc", framed(0, b"\x1a\x01a")),
            (b"application/grpc+proto", framed(1, gzip.compress(b"\x1a\x01a"))),
            (b"application/grpc-web+proto", framed(0, b"\x1a\x01a") + framed(128, b"a: b\r\n")),
            (b"application/grpc-web-text", b64encode(framed(0, b"\x1a\x01a"))),
            (
                b"application/grpc-web-text+proto",
                b64encode(framed(0, b"\x1a\x01a")[:4]) + b64encode(framed(0, b"\x1a\x01a")[4:]),
            ),
            (b"application/proto", b"\x1a\x01a"),
            (b"application/protobuf", b"\x1a\x01a"),
        ],
    )
    def test_of_one_message(self, media_type: bytes, body: bytes) -> None:
        assert messages(media_type=media_type).document(body, _MOST) == b'{"items":["a"]}'

    def test_of_a_stream(self) -> None:
        body = framed(0, b"\x1a\x01a") + framed(0, b"")
        several = messages(b"/shop.v1.Shop/Collect", b"application/connect+proto")
        assert several.document(body + framed(2, b"{}"), _MOST) == b'[{"items":["a"]},{}]'
        assert messages(b"/shop.v1.Shop/Collect").document(b"", _MOST) == b"[]"

    @pytest.mark.parametrize(
        "body",
        [b"", framed(0, b"") * 2, framed(0, b"\xff"), framed(0, b"a")[:-1], framed(1, b"a")],
        ids=["none", "two", "not a message", "cut off", "not compressed"],
    )
    def test_not_one_message(self, body: bytes) -> None:
        assert messages().document(body, _MOST) is None

    def test_too_long(self) -> None:
        body = framed(1, gzip.compress(b"\x1a\x90\x4e" + bytes(10000)))
        assert messages().document(body, 1000) is None

    @pytest.mark.parametrize("target", [b"/shop.v1.Shop/None", b"/a.B/Order", b"/", b"*", b"/x"])
    def test_not_declared(self, target: bytes) -> None:
        found = TYPES.of_request(target, b"application/grpc")
        assert found is not None
        assert found.type is None

    def test_below_a_path(self) -> None:
        found = TYPES.of_request(b"/twirp/shop.v1.Shop/Order?x=1", b"application/protobuf")
        assert found is not None
        assert found.type is not None
        assert found.type.name == "shop.v1.OrderRequest"

    def test_other_bodies(self) -> None:
        assert TYPES.of_request(ORDER, b"application/json") is None
        assert TYPES.of_request(ORDER, b"application/grpc+json") is None

    def test_an_answer(self) -> None:
        found = TYPES.of_answer(b"/shop.v1.Shop/Watch", b"application/grpc")
        assert found is not None
        assert found.several
        assert found.document(framed(0, b"\x0a\x01x"), _MOST) == b'[{"order_id":"x"}]'


class TestDescriptors:
    def test_well_known_types_need_not_be_there(self) -> None:
        known = Descriptors.of(files_in(descriptor_set("shop", imports=False)))
        assert known.method("shop.v1.Shop", "Order") is not None

    def test_an_import_that_is_missing(self) -> None:
        files = [one for one in files_in(descriptor_set("shop")) if one.name == "shop.proto"]
        files[0].dependency.append("other.proto")
        with pytest.raises(BadDescriptors, match=r"imports other.proto, which is missing"):
            Descriptors.of(files)

    def test_rings(self) -> None:
        files = [one for one in files_in(descriptor_set("shop")) if one.name == "shop.proto"]
        files[0].dependency.append("shop.proto")
        with pytest.raises(BadDescriptors, match="imports itself"):
            Descriptors.of(files)

    def test_a_source(self) -> None:
        with pytest.raises(BadDescriptors, match=r"is a .proto file, not a compiled one"):
            files_in(b'syntax = "proto3";\nmessage A {}\n')

    @given(st.binary())
    def test_hostile_bytes(self, data: bytes) -> None:
        with suppress(BadDescriptors):
            Descriptors.of(files_in(data))

    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        whole = bytearray(descriptor_set("legacy"))
        for _ in range(3):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        with suppress(BadDescriptors):
            Descriptors.of(files_in(bytes(whole)))

    def test_what_a_service_needs(self) -> None:
        found = descriptors().behind("shop.legacy.Legacy")
        assert [one.name for one in files_in(found)] == ["legacy.proto"]
        with pytest.raises(KeyError):
            descriptors().behind("no.Such")

    def test_of_two_sets(self) -> None:
        """A file that both have is the newer one's; what does not fit is left out."""
        shop, legacy = descriptor_set("shop"), descriptor_set("legacy")
        both = merged(shop, legacy)
        assert {one.name for one in files_in(both)} > {"shop.proto", "legacy.proto"}
        assert merged(both, shop) == both
        assert merged(b"junk", legacy) == merged(b"", legacy)


class TestByWireFormat:
    def test_fields_by_number(self) -> None:
        user = made("User", name="bob", id=5).SerializeToString()
        data = b"\x0a" + varint(len(user)) + user + b"\x42\x01\xff" + b"\x9d\x01\x05\x00\x00\x00"
        assert raw_document(data) == {
            "1": [{"1": ["bob"], "2": [5]}],
            "8": [{"base64": "/w=="}],
            "19": [{"fixed32": 5}],
        }

    @given(st.binary())
    def test_hostile_bytes(self, data: bytes) -> None:
        with suppress(ValueError):
            json.dumps(raw_document(data))

    def test_too_deep(self) -> None:
        with pytest.raises(ValueError, match="deep"):
            raw_document(b"\x0b" * 500 + b"\x0c" * 500)

    @given(st.integers(0, 2**64 - 1))
    def test_numbers(self, number: int) -> None:
        (one,) = fields(b"\x08" + varint(number), 0, 1 + len(varint(number)))
        assert (one.number, one.type) == (1, WireType.VARINT)
        assert raw_document(b"\x08" + varint(number)) == {"1": [number]}
