"""Which parts of a body are compared; pieces and files give the same value as the whole."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import CassetteError
from buffr.formats.multipart import boundary_of
from buffr.interaction import Body, BodyKey
from buffr.matching.body import IN_MEMORY, BodyDigest, BodyKind, BodyRules
from buffr.matching.rules import Normalisation

JSON = b"application/json"
FORM_DATA = b"multipart/form-data; boundary="


def body_value(content_type: bytes | None, body: bytes) -> bytes:
    return BodyRules().value(BodyKind(content_type), body)


def recorded_body_value(content_type: bytes | None, body: Body) -> bytes:
    return BodyRules().recorded(BodyKind(content_type), body)


def digest_value(data: bytes) -> bytes:
    return b"sha256:" + sha256(data).hexdigest().encode()


def form_data(boundary: bytes, *contents: bytes) -> bytes:
    parts = [
        b"--%b\r\nContent-Disposition: form-data; name=f\r\n\r\n%b\r\n" % (boundary, content)
        for content in contents
    ]
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


class TestBodyValue:
    @pytest.mark.parametrize(
        ("content_type", "body", "value"),
        [
            (None, b"", b""),
            (JSON, b"", b""),
            (JSON, b' {"b":1, "a":2}', b'{"a":2,"b":1}'),
            (b"application/vnd.api+json; charset=utf-8", b"1 ", b"1"),
            (b"text/plain", b" \n[1, 2] ", b"[1,2]"),
            (None, b'{"b":1, "a":2}', b'{"a":2,"b":1}'),
            (JSON, b'{"a": ', b'{"a": '),
            (b"application/x-ndjson", b'{"a": 1}\n{"a": 2}\n', b'{"a": 1}\n{"a": 2}\n'),
            (b"text/plain", b"1 ", b"1 "),
            (b"text/plain", b"a  b", b"a  b"),
            (None, b"\xff\x00", b"\xff\x00"),
        ],
    )
    def test_small(self, content_type: bytes | None, body: bytes, value: bytes) -> None:
        """JSON has one spelling, whatever it is called; all else is compared exactly."""
        assert body_value(content_type, body) == value

    def test_as_large_as_it_may_be(self) -> None:
        body = b"[" + b" " * (IN_MEMORY - 2) + b"]"
        assert body_value(JSON, body) == b"[]"

    def test_no_body_spells_a_digest(self) -> None:
        """A body that reads like a large one's digest is not that body."""
        large = b"x" * (IN_MEMORY + 1)
        assert body_value(None, digest_value(large)) != body_value(None, large)


class TestDigest:
    @given(
        st.binary(max_size=20).map(lambda tail: b'{"a": [1, 2]}' + tail),
        st.sampled_from([0, IN_MEMORY]),
        st.lists(st.integers(0, 2 * IN_MEMORY), max_size=5),
    )
    def test_pieces(self, body: bytes, more: int, cuts: list[int]) -> None:
        """A message in pieces, cut anywhere, has the value of the whole."""
        body += b" " * more
        digest, at = BodyDigest(), 0
        for cut in sorted(cut % (len(body) + 1) for cut in cuts):
            digest.update(body[at:cut])
            at = cut
        digest.update(body[at:])
        assert BodyRules().value(BodyKind(), digest) == body_value(None, body)


class TestMultipart:
    @pytest.mark.parametrize(
        ("content_type", "boundary"),
        [
            (None, None),
            (JSON, None),
            (b"multipart/form-data", None),
            (b"multipart/form-data; boundary=", None),
            (b"multipart/form-data; boundary=a", b"a"),
            (b"Multipart/Mixed;charset=x; BOUNDARY = a-b ;x=y", b"a-b"),
            (b'multipart/form-data; x="; boundary=no"; boundary="a \\"b"', b'a "b'),
            (b"text/plain; boundary=a", None),
        ],
    )
    def test_boundary(self, content_type: bytes | None, boundary: bytes | None) -> None:
        """The boundary is a parameter as RFC 2045 5.1 writes them."""
        assert boundary_of(content_type) == boundary

    def test_boundary_makes_no_difference(self) -> None:
        """One form sent twice has one value, the content of its parts decides."""
        one = body_value(FORM_DATA + b"abc", form_data(b"abc", b"1", b"2"))
        two = body_value(FORM_DATA + b'"x-y-z"', form_data(b"x-y-z", b"1", b"2"))
        assert one == two
        assert one != body_value(FORM_DATA + b"abc", form_data(b"abc", b"1", b"3"))

    def test_boundary_inside_a_part(self) -> None:
        """Only at the beginning of a line is it a delimiter."""
        one = body_value(FORM_DATA + b"abc", form_data(b"abc", b"see abc and x--abc"))
        assert b"see abc and x--abc" in one


class TestRecordedBody:
    @pytest.mark.parametrize("content_type", [None, JSON, FORM_DATA + b"abc"])
    def test_large_file_is_not_read(self, tmp_path: Path, content_type: bytes | None) -> None:
        """A file's name is the digest of its bytes: it need not be there."""
        body = b"x" * (IN_MEMORY + 1)
        name = sha256(body).hexdigest()
        recorded = Body(b"", len(body), tmp_path / name)
        assert recorded_body_value(content_type, recorded) == b"sha256:" + name.encode()

    def test_a_large_body_with_a_known_key(self, tmp_path: Path) -> None:
        """By these rules only."""
        rules, kind = BodyRules(), BodyKind(JSON)
        known = BodyKey(rules.version(kind), "0" * 64)
        recorded = Body(b"", IN_MEMORY + 1, tmp_path / ("1" * 64), known)
        assert rules.recorded(kind, recorded) == b"sha256:" + b"0" * 64
        others = BodyRules(normalise=Normalisation(multipart=False))
        for other, of in ((others, kind), (rules, BodyKind()), (rules, BodyKind(JSON, b"gzip"))):
            assert other.recorded(of, recorded) == b"sha256:" + b"1" * 64

    @pytest.mark.parametrize("content_type", [FORM_DATA + b"abc", JSON])
    def test_small_file(self, tmp_path: Path, content_type: bytes) -> None:
        """A recorded body in a file has the value that it has live."""
        body = form_data(b"abc", b"1")
        file = tmp_path / sha256(body).hexdigest()
        file.write_bytes(body)
        recorded = Body(b"", len(body), file)
        assert recorded_body_value(content_type, recorded) == body_value(content_type, body)

    def test_missing_file(self, tmp_path: Path) -> None:
        """A file that is needed and missing is the cassette's error."""
        with pytest.raises(CassetteError):
            recorded_body_value(FORM_DATA + b"a", Body(b"", 9, tmp_path / "none"))

    def test_in_memory(self) -> None:
        """Bytes in memory are used unchanged; no body counts as no bytes."""
        assert recorded_body_value(JSON, Body.of(b"[ ]")) == b"[]"
        assert recorded_body_value(JSON, Body()) == b""
