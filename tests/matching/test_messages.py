"""Requests with protobuf's messages of declared types: compared and explained by their fields."""

from __future__ import annotations

import gzip
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from long_bodies import live_keys, recorded_key
from protos import descriptors, made

from buffr.formats.grpc import framed
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.formats.protobuf.wire import varint
from buffr.interaction import Body, IndexEntry, RecordedRequest
from buffr.matching.body import IN_MEMORY
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import near_misses
from buffr.matching.rules import IgnoreRule, MatchRules
from buffr.message import Headers, Request
from buffr.redaction.rules import RedactionRules

ORDER = b"/shop.v1.Shop/Order"
TYPES = MessageTypes((descriptors(),))
GRPC: Headers = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
CONNECT: Headers = ((b"content-type", b"application/proto"),)


def matcher(types: MessageTypes = TYPES, **rules: Any) -> Matcher:
    return Matcher(MatchRules(**rules), with_origin=False, types=types)


def key(
    body: bytes, by: Matcher | None = None, headers: Headers = GRPC, target: bytes = ORDER
) -> MatchKey:
    by = by or matcher()
    made = by.live(Request(b"POST", target, headers), body).keys[0]
    recorded = RecordedRequest(b"POST", target, headers, Body.of(body))
    assert by.recorded_key(IndexEntry(recorded)).digest == made.digest
    return made


def order(**fields: Any) -> bytes:
    return framed(0, made("OrderRequest", **fields).SerializeToString())


class TestEqual:
    @given(st.randoms(use_true_random=False))
    def test_entries_of_maps_in_any_order(self, random: Random) -> None:
        names = [f"n{number}" for number in range(8)]
        entries = [b"\x22\x04\x0a\x02%b" % name.encode() for name in names]
        first = key(framed(0, b"".join(entries)))
        random.shuffle(entries)
        assert key(framed(0, b"".join(entries))).digest == first.digest

    def test_however_it_is_compressed_or_spelled(self) -> None:
        plain = order(items=["a"], quantities=[1, 2])
        one = key(plain).digest
        assert key(framed(1, gzip.compress(plain[5:]))).digest == one
        unpacked = framed(0, b"\x10\x01\x10\x02\x1a\x01a\xba\x01\x00")
        assert key(unpacked).digest == one
        typed: Headers = ((b"content-type", b"application/grpc+proto"),)
        assert key(plain, headers=typed).digest == one

    def test_under_a_content_coding(self) -> None:
        message = made("OrderRequest", items=["a"]).SerializeToString()
        coded = (*CONNECT, (b"content-encoding", b"gzip"))
        plain = key(message, headers=CONNECT).digest
        assert key(gzip.compress(message), headers=coded).digest == plain

    def test_without_descriptors_bytes_count(self) -> None:
        bare = matcher(MessageTypes())
        unpacked = framed(0, b"\x10\x01\x10\x02")
        assert key(unpacked, bare).digest != key(order(quantities=[1, 2]), bare).digest
        assert key(unpacked, bare).parts[-1] == ("body", unpacked)


class TestDifferent:
    def test_values(self) -> None:
        assert key(order(items=["a"])).digest != key(order(items=["b"])).digest
        assert key(order(floor=0)).digest != key(order()).digest

    def test_framings(self) -> None:
        """The answer to one would be no answer to the other."""
        message = order(items=["a"])
        web: Headers = ((b"content-type", b"application/grpc-web+proto"),)
        json: Headers = ((b"content-type", b"application/json"),)
        digests = {
            key(message).digest,
            key(message, headers=web).digest,
            key(message[5:], headers=CONNECT).digest,
            key(b'{"items":["a"]}', headers=json).digest,
            key(b'protobuf:application/grpc\n{"items":["a"]}', headers=json).digest,
        }
        assert len(digests) == 5

    @given(st.binary(max_size=100))
    def test_what_is_no_message_counts_by_its_bytes(self, data: bytes) -> None:
        value = key(framed(0, b"\xff" + data)).parts[-1][1]
        assert value == framed(0, b"\xff" + data)


class TestRules:
    def test_paths(self) -> None:
        by = matcher(json=("$.trace_id", "$.user.id"))
        one = order(trace_id="1", user={"name": "a", "id": 1})
        other = order(trace_id="2", user={"name": "a", "id": 2})
        assert key(one, by).digest == key(other, by).digest
        assert key(one, by).digest != key(order(user={"name": "b"}), by).digest

    def test_patterns(self) -> None:
        rule = IgnoreRule(part="request.body", pattern="order-[0-9]+", replace_with="order")
        by = matcher(ignore=(rule,))
        one, other = order(items=["order-1"]), order(items=["order-22"])
        assert key(one, by).digest == key(other, by).digest

    def test_in_streams_messages_are_the_elements_of_a_list(self) -> None:
        by, target = matcher(json=("$[*].trace_id",)), b"/shop.v1.Shop/Collect"
        one = order(trace_id="1") + order(trace_id="2")
        other = order(trace_id="3") + order(trace_id="4")
        assert key(one, by, target=target).digest == key(other, by, target=target).digest


class TestCredentials:
    def test_they_do_not_count(self) -> None:
        one, other = order(user={"password": "hunter2"}), order(user={"password": "sesame"})
        assert key(one).digest == key(other).digest
        assert b"hunter2" not in key(one).parts[-1][1]

    def test_unless_they_are_exact(self) -> None:
        by = matcher(credentials="exact")
        one, other = order(user={"password": "hunter2"}), order(user={"password": "sesame"})
        live = [by.live(Request(b"POST", ORDER, GRPC), body).keys[0] for body in (one, other)]
        assert live[0].digest != live[1].digest


class TestMisses:
    def test_are_explained_by_field(self) -> None:
        recorded = key(order(user={"name": "a", "id": 1}, items=["x"]))
        live = key(order(user={"name": "b", "id": 1}, items=["x", "y"]))
        (miss,) = near_misses([live], [(0, recorded)], RedactionRules())
        assert [str(one) for one in miss.differences] == [
            "body /items/1: recorded nothing, live '\"y\"'",
            "body /user/name: recorded '\"a\"', live '\"b\"'",
        ]

    def test_with_the_rule_that_would_help(self) -> None:
        recorded = key(order(trace_id="0b6b1d3a-8f0e-4c58-9d19-1f4c4bbf9d10"))
        live = key(order(trace_id="f3a0c1f2-55d4-4f7e-8f8b-0f7d4c6f2b11"))
        (miss,) = near_misses([live], [(0, recorded)], RedactionRules())
        assert miss.rule is not None
        assert miss.rule.json == ("$.trace_id",)
        assert not miss.rule.partial


class TestLong:
    def test_messages_are_compared_by_their_fields(self) -> None:
        """Numbers that are packed, or not: one body is over the limit for bodies in memory."""
        numbers = bytes(range(1, 101)) * 6000
        packed = framed(0, b"\x12" + varint(len(numbers)) + numbers)
        single = framed(0, b"".join(b"\x10%c" % number for number in numbers))
        assert len(packed) < IN_MEMORY < len(single)
        by, request = matcher(), Request(b"POST", ORDER, GRPC)
        keys = [live_keys(by, request, body)[0].digest for body in (packed, single)]
        assert keys[0] == keys[1]
        recorded = RecordedRequest(b"POST", ORDER, GRPC, Body.of(single))
        assert not by.is_read(recorded)
        assert recorded_key(by, recorded).digest == keys[0]

    def test_what_is_no_message_counts_by_its_bytes(self) -> None:
        by, request = matcher(), Request(b"POST", ORDER, GRPC)
        bare = matcher(MessageTypes())
        body = framed(0, b"\xff" * (IN_MEMORY + 1))
        assert live_keys(by, request, body)[0].digest == live_keys(bare, request, body)[0].digest
