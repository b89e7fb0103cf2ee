"""Secrets in protobuf's messages: replaced in their fields, and nothing else changed."""

from __future__ import annotations

import gzip
from base64 import b64decode, b64encode
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protos import descriptors, made

from buffr.formats.grpc import framed, frames
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.formats.protobuf.wire import varint
from buffr.interaction import Body, Chunk, HTTPInteraction, IndexEntry, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.message import Headers, Request, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

ORDER, COLLECT, WATCH = (b"/shop.v1.Shop/" + name for name in (b"Order", b"Collect", b"Watch"))
TYPES = MessageTypes((descriptors(),))
GRPC: Headers = ((b"content-type", b"application/grpc"),)
TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3
PASSWORD = "correct horse"  # what the tests look for


def redactor(rules: RedactionRules | None = None, types: MessageTypes = TYPES) -> Redactor:
    return Redactor(rules or RedactionRules(), b"salt", types=types)


def stored(
    request: bytes = b"",
    answer: bytes = b"",
    *,
    target: bytes = ORDER,
    headers: Headers = GRPC,
    by: Redactor | None = None,
    chunks: tuple[Chunk, ...] = (),
) -> HTTPInteraction:
    recorded = RecordedRequest(b"POST", target, headers, Body.of(request))
    head = ResponseHead(200, b"", headers)
    whole = HTTPInteraction(recorded, head, Body.of(answer), chunks)
    found = (by or redactor()).interaction(whole)
    assert isinstance(found, HTTPInteraction)
    again = (by or redactor()).interaction(found)
    assert isinstance(again, HTTPInteraction)
    assert again.request.body.data == found.request.body.data
    assert again.body.data == found.body.data
    return found


def request_of(body: bytes, **more: Any) -> Any:
    """The message of a redacted request, and whether it is framed as it should be."""
    (one,) = frames(stored(body, **more).request.body.data, 1 << 20)
    return made("OrderRequest").FromString(one.content)


def order(**fields: Any) -> bytes:
    return framed(0, made("OrderRequest", **fields).SerializeToString())


class TestFields:
    def test_a_password(self) -> None:
        """Whatever it looks like; all other bytes stay."""
        unusual = b"\xc0\x3e\x05" + b"\x1a\x01a" + b"\x10\x01\x10\x82\x00"
        user = made("User", name="bob", password=PASSWORD).SerializeToString()
        body = framed(0, unusual + b"\x0a" + varint(len(user)) + user + unusual)
        hidden = made("User", name="bob", password="REDACTED-password").SerializeToString()
        wanted = framed(0, unusual + b"\x0a" + varint(len(hidden)) + hidden + unusual)
        assert stored(body).request.body.data == wanted

    def test_in_nested_places(self) -> None:
        message = made("OrderRequest")
        message.guests["x"].password = PASSWORD
        message.guests["y"].labels["client_secret"] = PASSWORD
        message.friends.add().password = PASSWORD
        message.friends.add().name = "b"
        message.extra.Pack(made("User", password=PASSWORD))
        message.meta.update({"a": [{"password": PASSWORD}]})
        message.note.value = f"token: {TOKEN}"
        found = request_of(framed(0, message.SerializeToString()))
        assert PASSWORD not in str(found)
        assert TOKEN not in str(found)
        assert found.guests["x"].password == "REDACTED-password"
        assert found.friends[1].name == "b"
        assert found.meta["a"][0]["password"] == "REDACTED-password"
        assert found.note.value.startswith("token: REDACTED-github")

    def test_bytes_and_numbers(self) -> None:
        rules = RedactionRules.with_extra(json=("$.pin", "$.quantities", "$.ratios", "$.code"))
        message = made(
            "OrderRequest",
            api_key=b"\xff\x00\x81secret",
            picture=b"\xff\x00",
            pin=123456,
            quantities=[1, 300, -5],
            ratios=[1.5],
            code=7,
        )
        found = request_of(framed(0, message.SerializeToString()), by=redactor(rules))
        assert found.api_key == b"REDACTED-api-key"
        assert found.picture == b"\xff\x00"
        assert (found.pin, found.code, found.ratios) == (0, 0, [0.0])
        assert found.quantities == [0, 0, 0]

    def test_known_secrets(self) -> None:
        """What the request has as its credential is found wherever it comes back."""
        secret = b"s3cr3t-0f-7h3-cl13n7-x9"
        headers = (*GRPC, (b"authorization", b"Bearer " + secret))
        body = order(items=[f"my {secret.decode()}"])
        found = request_of(body, headers=headers)
        assert found.items[0].startswith("my REDACTED-authorization")

    def test_a_value_that_a_later_one_replaces(self) -> None:
        """Parsers do not see it, but it is there."""
        user = b"\x1a\x07hunter2" + b"\x1a\x00"
        body = framed(0, b"\x0a" + varint(len(user)) + user)
        assert b"hunter2" not in stored(body).request.body.data

    def test_a_field_that_is_not_declared_keeps_its_length(self) -> None:
        content = b"\x0a" + varint(len(TOKEN)) + TOKEN.encode()
        body = framed(0, b"\xc2\x3e" + varint(len(content)) + content)
        found = stored(body).request.body.data
        assert TOKEN.encode() not in found
        assert len(found) == len(body)
        assert found[:10] == body[:10]

    def test_rules_of_the_user(self) -> None:
        rules = RedactionRules.with_extra(json=("$.user.name", "$.items[1]"))
        found = request_of(order(user={"name": "bob"}, items=["a", "b"]), by=redactor(rules))
        assert (found.user.name, found.items) == ("REDACTED-name", ["a", "REDACTED-items"])

    def test_nothing_to_hide(self) -> None:
        body = framed(1, gzip.compress(made("OrderRequest", items=["a"]).SerializeToString()))
        assert stored(body).request.body.data == body


class TestBodies:
    def test_streams(self) -> None:
        body = order(items=["a"]) + order(user={"password": PASSWORD}) + order(items=["b"])
        found = stored(body, target=COLLECT).request.body.data
        assert found.startswith(order(items=["a"]))
        assert found == (
            order(items=["a"]) + order(user={"password": "REDACTED-password"}) + order(items=["b"])
        )

    def test_compressed_messages_are_stored_plain(self) -> None:
        message = made("OrderRequest", user={"password": PASSWORD}).SerializeToString()
        found = stored(framed(1, gzip.compress(message))).request.body.data
        assert found == order(user={"password": "REDACTED-password"})

    def test_an_answer_and_its_chunks(self) -> None:
        replies = [made("OrderReply", order_id=str(n), access_token=TOKEN) for n in range(3)]
        pieces = [framed(0, one.SerializeToString()) for one in replies]
        chunks = tuple(Chunk(len(piece), 5) for piece in pieces)
        found = stored(b"", b"".join(pieces), target=WATCH, chunks=chunks)
        ends = list(accumulate(chunk.size_bytes for chunk in found.chunks))
        assert ends == [one.end for one in frames(found.body.data, 1 << 20)]
        assert TOKEN.encode() not in found.body.data
        assert [chunk.delay_ms for chunk in found.chunks] == [5, 5, 5]

    def test_in_base64(self) -> None:
        headers: Headers = ((b"content-type", b"application/grpc-web-text"),)
        body = b64encode(order(user={"password": PASSWORD}))
        found = stored(body, headers=headers).request.body.data
        assert b64decode(found) == order(user={"password": "REDACTED-password"})

    @pytest.mark.parametrize("coded", [False, True])
    def test_of_one_message(self, coded: bool) -> None:
        headers: Headers = ((b"content-type", b"application/proto"), (b"content-length", b"9"))
        message = made("OrderRequest", user={"password": PASSWORD}).SerializeToString()
        if coded:
            message, headers = gzip.compress(message), (*headers, (b"content-encoding", b"gzip"))
        request = stored(message, headers=headers).request
        data = gzip.decompress(request.body.data) if coded else request.body.data
        assert made("OrderRequest").FromString(data).user.password == "REDACTED-password"
        assert dict(request.headers)[b"content-length"] == b"%d" % request.body.size_bytes

    def test_trailers_of_grpc_web(self) -> None:
        headers: Headers = ((b"content-type", b"application/grpc-web+proto"),)
        trailers = framed(128, b"grpc-message: %b\r\n" % TOKEN.encode())
        found = stored(b"", framed(0, b"") + trailers, headers=headers).body.data
        assert TOKEN.encode() not in found
        assert len(found) == len(trailers) + 5

    @pytest.mark.parametrize("size", range(20, 33))
    def test_cut_off(self, size: int) -> None:
        """As far as it goes."""
        body = order(items=["aaaaa"], user={"password": PASSWORD, "name": "b"})[:size]
        assert PASSWORD.encode()[:3] not in stored(body).request.body.data

    def test_without_descriptors_lengths_stay(self) -> None:
        bare = redactor(types=MessageTypes())
        message = made("OrderRequest", items=[TOKEN]).SerializeToString()
        for body, media_type in ((framed(0, message), b"grpc"), (message, b"proto")):
            headers: Headers = ((b"content-type", b"application/" + media_type),)
            found = stored(body, headers=headers, by=bare).request.body.data
            assert TOKEN.encode() not in found
            assert len(found) == len(body)
        (one,) = frames(
            stored(framed(1, gzip.compress(message)), by=bare).request.body.data, 1 << 20
        )
        assert len(one.content) == len(message)
        assert TOKEN.encode() not in one.content


_TEXTS = st.sampled_from(["", "a", PASSWORD, TOKEN, "REDACTED-x", 'quote"\\\n', "é"])
_BYTES = st.one_of(st.binary(max_size=5), _TEXTS.map(str.encode))


class TestKeys:
    """A request and its recording are the same, whatever was hidden in it."""

    @given(
        st.builds(
            dict,
            items=st.lists(_TEXTS, max_size=3),
            user=st.fixed_dictionaries({"name": _TEXTS, "password": _TEXTS}),
            api_key=_BYTES,
            picture=_BYTES,
            pin=st.sampled_from([0, 5, 123456]),
            trace_id=_TEXTS,
        ),
        st.sampled_from([b"", b"\xc2\x3e\x03abc", b"\xc2\x3e" + varint(40) + TOKEN.encode()]),
        st.booleans(),
        st.booleans(),
    )
    def test_are_those_of_the_request(
        self, fields: dict[str, Any], more: bytes, declared: bool, compressed: bool
    ) -> None:
        rules = RedactionRules.with_extra(json=("$.pin",))
        types = TYPES if declared else MessageTypes()
        by = Matcher(MatchRules(redaction=rules), with_origin=False, types=types)
        message = made("OrderRequest", **fields).SerializeToString() + more
        body = framed(1, gzip.compress(message)) if compressed else framed(0, message)
        live = by.live(Request(b"POST", ORDER, GRPC), body).keys[0]
        recorded = stored(body, by=redactor(rules, types)).request
        assert by.recorded_key(IndexEntry(recorded)).digest == live.digest
        assert by.recorded(recorded).parts == live.parts
