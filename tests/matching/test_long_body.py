"""A long body means what a short one means, and other work gets a turn while it is read."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_json_in_slices import SMALL_DOCUMENTS
from test_noise_below import CHECKSUM, google_batch, parts, signed

from buffr.formats.codings import encoded
from buffr.matching.body import IN_MEMORY, BodyKind, BodyRules, LongBody
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.long_body import long_body
from buffr.matching.pieces import go_on
from buffr.matching.rules import IgnoreRule, Normalisation
from buffr.redaction.own_credentials import NOTHING_KNOWN

MB = 1 << 20
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
FIELDS, _ = JSONFields.of(("$.nonce", "$..at"), tokens=True)
IGNORED, _ = Ignore.of((IgnoreRule(part="request.body", pattern="run-[0-9]+", replace_with="N"),))
RULES = BodyRules(json=FIELDS, ignore=IGNORED, form_left_out=frozenset((b"nonce",)))
PLAIN = BodyRules()
IMAGE = base64.b64encode(bytes(range(256)) * 8192)
"""Two megabytes and more, as JSON has them."""


def read(
    content_type: bytes | None,
    body: bytes,
    *,
    codings: bytes = b"",
    rules: BodyRules = PLAIN,
    limit: int = 64 * MB,
    cuts: tuple[int, ...] = (),
) -> LongBody:
    edges = sorted({0, len(body), *[cut % (len(body) + 1) for cut in cuts]})
    pieces = [body[start:end] for start, end in pairwise(edges)]
    kind = BodyKind(content_type, codings)
    return long_body(rules, kind, NOTHING_KNOWN, limit, lambda: pieces, go_on)


def by_bytes(body: bytes) -> bytes:
    return b"sha256:" + sha256(body).hexdigest().encode()


KINDS = st.sampled_from(
    [
        None,
        JSON,
        FORM,
        b"text/plain",
        b"multipart/form-data; boundary=b",
        b"multipart/mixed; boundary=b",
        b"message/rfc822",
        b"application/xml",
    ]
)
BODIES = st.one_of(
    st.binary(max_size=60),
    SMALL_DOCUMENTS.map(str.encode),
    SMALL_DOCUMENTS.map(lambda text: b'{"nonce": 1, "a": %b, "run-12": 2}' % text.encode()),
    st.dictionaries(st.text("ab&=", max_size=3), st.text("x&é ", max_size=5)).map(
        lambda fields: urlencode(fields).encode()
    ),
    st.lists(st.binary(max_size=20), max_size=3).map(
        lambda contents: parts(b"b", *[b"A: b\r\n\r\n" + content for content in contents])
    ),
    st.just(google_batch(b"b", b"x")),
    st.just(b"sha256:" + b"0" * 64),
)


class TestAsAShortOne:
    @settings(max_examples=settings().max_examples * 3)
    @given(
        KINDS,
        BODIES,
        st.sampled_from(
            [b"", b"gzip", b"br, zstd", b"aws-chunked", b"aws-chunked, gzip", b"x-own"]
        ),
        st.lists(st.integers(0, 200), max_size=4).map(tuple),
        st.booleans(),
    )
    def test_values_are_the_same(
        self, kind: bytes | None, body: bytes, codings: bytes, cuts: tuple[int, ...], ruled: bool
    ) -> None:
        """Of the same bytes: where a body is long depends on its coding, and on nothing else."""
        rules = RULES if ruled else PLAIN
        if codings != b"x-own":
            body = encoded(codings, body)
        if b"aws-chunked" in codings:
            body = signed(body, b"a", 7, CHECKSUM)
        short = rules.value(BodyKind(kind, codings), body)
        assert read(kind, body, codings=codings, rules=rules, cuts=cuts).meant == short

    @given(st.binary(max_size=40), st.sampled_from([b"gzip", b"aws-chunked", b"br,aws-chunked"]))
    def test_bodies_that_do_not_match_their_coding(self, body: bytes, codings: bytes) -> None:
        short = PLAIN.value(BodyKind(JSON, codings), body)
        assert read(JSON, body, codings=codings).meant == short


def document(nonce: int, *, indent: int | None = None, image: bytes = IMAGE) -> bytes:
    said = {"model": "m", "nonce": nonce, "content": [{"at": nonce, "data": image.decode()}]}
    return json.dumps(said, indent=indent).encode()


class TestLong:
    def test_json_has_one_spelling(self) -> None:
        one = read(JSON, document(1))
        assert one.meant == read(JSON, document(1, indent=2)).meant
        assert one.meant == by_bytes(
            json.dumps(json.loads(document(1)), separators=(",", ":"), sort_keys=True).encode()
        )
        assert one.meant != read(JSON, document(2)).meant
        assert one.meant != read(JSON, document(1, image=IMAGE[:-1] + b"B")).meant
        assert one.exact == by_bytes(document(1))
        assert one.raw_digest == sha256(document(1)).digest()
        assert not one.over

    def test_rules_for_json(self) -> None:
        assert (
            read(JSON, document(1), rules=RULES).meant == read(JSON, document(2), rules=RULES).meant
        )

    def test_filters(self) -> None:
        """Paths that need the whole document."""
        fields, _ = JSONFields.of(("$.content[?@.at > 0].at", "$.nonce"))
        rules = BodyRules(json=fields)
        values = {read(JSON, document(nonce), rules=rules).meant for nonce in (0, 1, 2)}
        assert len(values) == 2

    def test_ignore_rules(self) -> None:
        bodies = [IMAGE + b" run-%d " % number + IMAGE for number in (1, 22)]
        assert len({read(None, body, rules=RULES).meant for body in bodies}) == 1
        assert len({read(None, body).meant for body in bodies}) == 2

    def test_forms(self) -> None:
        one = read(FORM, b"nonce=1&image=" + IMAGE, rules=RULES)
        assert one.meant == read(FORM, b"image=" + IMAGE.replace(b"A", b"%41"), rules=RULES).meant
        assert one.meant != read(FORM, b"image=" + IMAGE[1:], rules=RULES).meant

    def test_forms_in_parts(self) -> None:
        def upload(boundary: bytes, nonce: bytes, file: bytes) -> bytes:
            field = b'Content-Disposition: form-data; name="nonce"\r\n\r\n' + nonce
            sent = b'Content-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + file
            body = parts(boundary, field, sent)
            return read(b"multipart/form-data; boundary=" + boundary, body, rules=RULES).meant

        assert upload(b"one", b"1", IMAGE) == upload(b"another", b"2", IMAGE)
        assert upload(b"one", b"1", IMAGE) != upload(b"one", b"1", IMAGE[1:])

    def test_batches(self) -> None:
        def batch(ident: bytes, body: bytes) -> bytes:
            made = google_batch(ident, ident, body)
            return read(b"multipart/mixed; boundary=" + ident, made, rules=RULES).meant

        assert batch(b"one", document(1)) == batch(b"two", document(2, indent=1))

    @pytest.mark.parametrize("codings", [b"gzip", b"br", b"zstd", b"deflate, gzip"])
    def test_under_a_coding(self, codings: bytes) -> None:
        """However short it is on the wire."""
        rows = json.dumps([{"a": 1, "b": "x" * 100}] * 20_000).encode()
        spelled = json.dumps(json.loads(rows), separators=(",", ":")).encode()
        one = read(JSON, encoded(codings, rows), codings=codings)
        assert one.meant == by_bytes(spelled) == read(JSON, spelled).meant
        assert PLAIN.takes_long(BodyKind(JSON, codings), encoded(codings, rows))
        assert one.exact == PLAIN.value(BodyKind(JSON, codings), encoded(codings, rows))

    def test_in_chunks_of_aws(self) -> None:
        one = read(None, signed(IMAGE, b"a", 65536, CHECKSUM), codings=b"aws-chunked")
        assert (
            one.meant
            == read(None, signed(IMAGE, b"b", 70_000, CHECKSUM), codings=b"aws-chunked").meant
        )
        assert (
            one.meant
            != read(None, signed(IMAGE[1:], b"a", 65536, CHECKSUM), codings=b"aws-chunked").meant
        )
        assert one.meant != read(None, signed(IMAGE, b"a", 65536), codings=b"aws-chunked").meant

    def test_where_it_ends_being_long(self) -> None:
        """Two spellings of one document, on both sides of the limit."""
        short = json.dumps({"a": "x" * (MB - 100)}).encode()
        padded = short + b" " * 200
        assert len(short) < IN_MEMORY < len(padded)
        assert read(JSON, padded).meant == PLAIN.value(BodyKind(JSON), short)

    @pytest.mark.parametrize(
        "body", [b"[" * 2_000_000, b'{"a": ' + b"1" * 2_000_000, b"[1,]" * 500_000]
    )
    def test_texts_that_are_not_json(self, body: bytes) -> None:
        assert read(JSON, body).meant == by_bytes(body) or body.endswith(b"1")

    def test_switched_off(self) -> None:
        rules = BodyRules(
            normalise=Normalisation(json=False, content_coding=False, multipart=False)
        )
        for content_type, codings in (
            (JSON, b""),
            (None, b"gzip"),
            (b"multipart/mixed; boundary=b", b""),
        ):
            values = read(content_type, document(1), codings=codings, rules=rules)
            assert values.meant == values.exact == by_bytes(document(1))


class TestCredentials:
    TOKEN = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"

    def test_they_are_one_constant(self) -> None:
        bodies = [
            document(1).replace(b'"model"', b'"key": "%b", "model"' % token)
            for token in (self.TOKEN, b"en", b"REDACTED")
        ]
        one, other, stored = [read(JSON, body) for body in bodies]
        assert one.meant == stored.meant
        assert one.exact == by_bytes(bodies[2]) == stored.exact
        assert one.meant != other.meant


class TestOverTheLimit:
    @pytest.mark.parametrize("rules", [PLAIN, RULES])
    def test_its_bytes_count(self, rules: BodyRules) -> None:
        values = read(JSON, document(1), rules=rules, limit=2 * MB)
        assert values.over
        assert values.meant == values.exact == by_bytes(document(1))

    def test_decoded(self) -> None:
        """The limit applies to the decoded body."""
        body = gzip.compress(b"[" + b" " * (3 * MB) + b"]", mtime=0)
        assert read(JSON, body, codings=b"gzip", limit=2 * MB).over
        assert not read(JSON, body, codings=b"gzip", limit=4 * MB).over

    def test_multipart_without_its_boundary(self) -> None:
        def made(boundary: bytes) -> LongBody:
            content_type = b"multipart/mixed; boundary=" + boundary
            return read(content_type, parts(boundary, b"\r\n" + IMAGE), limit=2 * MB)

        assert made(b"one").over
        assert made(b"one").meant == made(b"another").meant != made(b"one").exact

    def test_chunks_of_aws_without_signatures(self) -> None:
        one, other = [
            read(JSON, signed(document(1), sign, 65536), codings=b"aws-chunked", limit=2 * MB)
            for sign in (b"a", b"b")
        ]
        assert one.meant == other.meant
        assert one.over

    def test_a_body_without_rules_is_never_over_the_limit(self) -> None:
        values = read(b"image/png", b"\x89PNG" + IMAGE, limit=MB)
        assert not values.over
        assert values.meant == values.exact


class TestMemoryAndTurns:
    def test_a_body_that_need_not_be_parsed_is_not_kept(self) -> None:
        """Its pieces are looked at one by one."""

        def pieces() -> Iterator[bytes]:
            for _ in range(64):
                yield bytes(MB)

        kind = BodyKind(b"application/octet-stream")
        tracemalloc.start()
        try:
            values = long_body(PLAIN, kind, NOTHING_KNOWN, 64 * MB, pieces, go_on)
            assert tracemalloc.get_traced_memory()[1] < 8 * MB
        finally:
            tracemalloc.stop()
        assert values.meant == by_bytes(bytes(64 * MB))

    @pytest.mark.parametrize(
        "content_type", [JSON, FORM, b"text/plain", b"multipart/mixed; boundary=b"]
    )
    def test_turns(self, content_type: bytes) -> None:
        """There is one for each stretch of a quarter of a megabyte, at least."""
        turns = 0

        def pause() -> None:
            nonlocal turns
            turns += 1

        body = parts(b"b", b"\r\n" + IMAGE) if b"multipart" in content_type else document(1)
        long_body(PLAIN, BodyKind(content_type), NOTHING_KNOWN, 64 * MB, lambda: [body], pause)
        assert turns >= len(body) // (MB // 4)
