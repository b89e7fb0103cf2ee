"""What of a body is compared, and that pieces and files give what the whole gives."""

from __future__ import annotations

import itertools
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffr.errors import CassetteError
from buffr.interaction import Body
from buffr.matching.body import IN_MEMORY, BodyDigest, BodyKind, BodyRules
from buffr.matching.multipart import boundary_of

JSON = b"application/json"
FORM_DATA = b"multipart/form-data; boundary="


def in_pieces(content_type: bytes | None, body: bytes, cuts: list[int]) -> bytes:
    digest = BodyDigest(content_type)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        digest.update(body[start:end])
    return BodyRules().value(BodyKind(content_type), digest)


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

    def test_large(self) -> None:
        """Beyond the limit the digest of the exact bytes stands for a body."""
        body = b"[" + b" " * IN_MEMORY + b"]"
        assert body_value(JSON, body) == digest_value(body)
        assert body_value(JSON, body[:-3] + b"]") == b"[]"

    def test_no_body_spells_a_digest(self) -> None:
        """A body that reads like a large one's digest is not that body."""
        large = b"x" * (IN_MEMORY + 1)
        assert body_value(None, digest_value(large)) != body_value(None, large)

    @settings(max_examples=50)
    @given(
        st.sampled_from([None, JSON, FORM_DATA + b"B"]),
        st.binary(max_size=20).map(lambda tail: b'{"a": [1, 2]}' + tail),
        st.sampled_from([0, IN_MEMORY]),
        st.lists(st.integers(0, 2 * IN_MEMORY), max_size=5),
    )
    def test_pieces(
        self, content_type: bytes | None, body: bytes, more: int, cuts: list[int]
    ) -> None:
        """A body in pieces, cut anywhere, has the value of the whole."""
        body += b" " * more
        assert in_pieces(content_type, body, cuts) == body_value(content_type, body)


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

    def test_size_near_the_limit(self) -> None:
        """A longer boundary does not push one of two equal forms over the limit."""
        content = b"x" * (IN_MEMORY - 100)
        values = {
            body_value(FORM_DATA + boundary, form_data(boundary, content))
            for boundary in (b"a", b"a" * 70)
        }
        assert len(values) == 1

    @settings(max_examples=50)
    @given(
        st.text("ab-\r\n", min_size=1, max_size=4).map(lambda text: b"x" + text.strip().encode()),
        st.lists(st.text("xab-\r\n", max_size=20).map(str.encode), max_size=4),
        st.lists(st.integers(0, 500), max_size=8),
    )
    def test_pieces(self, boundary: bytes, contents: list[bytes], cuts: list[int]) -> None:
        """Cuts inside delimiters change nothing."""
        boundary = boundary.replace(b"\r", b"").replace(b"\n", b"")
        body = form_data(boundary, *contents)
        assert in_pieces(FORM_DATA + boundary, body, cuts) == body_value(FORM_DATA + boundary, body)

    def test_every_cut(self) -> None:
        """Nor does a cut at any one offset."""
        body = form_data(b"abc", b"\r\n--ab\r\n--abd", b"\n--abc")
        whole = body_value(FORM_DATA + b"abc", body)
        assert {in_pieces(FORM_DATA + b"abc", body, [cut]) for cut in range(len(body))} == {whole}


class TestRecordedBody:
    def test_large_file_is_not_read(self, tmp_path: Path) -> None:
        """A file's name is its digest: there need be no file to know the value."""
        body = b"x" * (IN_MEMORY + 1)
        recorded = Body(b"", len(body), tmp_path / sha256(body).hexdigest())
        assert recorded_body_value(None, recorded) == body_value(None, body)

    @pytest.mark.parametrize("more", [0, IN_MEMORY])
    @pytest.mark.parametrize("content_type", [FORM_DATA + b"abc", JSON])
    def test_file(self, tmp_path: Path, content_type: bytes, more: int) -> None:
        """A recorded body in a file has the value that it has live."""
        body = form_data(b"abc", b"1" + b" " * more)
        file = tmp_path / sha256(body).hexdigest()
        file.write_bytes(body)
        recorded = Body(b"", len(body), file)
        assert recorded_body_value(content_type, recorded) == body_value(content_type, body)

    def test_missing_file(self, tmp_path: Path) -> None:
        """A file that is needed and missing is the cassette's error."""
        with pytest.raises(CassetteError):
            recorded_body_value(FORM_DATA + b"a", Body(b"", 9, tmp_path / "none"))

    def test_in_memory(self) -> None:
        """Bodies in memory are taken as they are; no body is no bytes."""
        assert recorded_body_value(JSON, Body.of(b"[ ]")) == b"[]"
        assert recorded_body_value(JSON, Body()) == b""
