"""Answer heads taken off a connection: what is repaired, what is refused, and when."""

from __future__ import annotations

import pytest
from decoding import damaged
from hypothesis import example, given
from hypothesis import strategies as st

from buffr.errors import BadUpstreamAnswer
from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, ResponseHead, response_length
from buffr.wire.http1_answer_heads import AnswerHeads, AnswerRules
from buffr.wire.http1_head import HeadLimits, parse_response_head

LENIENT = AnswerRules(HeadLimits(2000, 20))
STRICT = AnswerRules(HeadLimits(2000, 20), lenient=False)
LINE = b"HTTP/1.1 200 OK\r\n"

LENGTH = (b"Content-Length", b"5")
CODED = (b"Transfer-Encoding", b"chunked")
OTHER = (b"X-A", b"b")

REPAIRED: dict[str, tuple[bytes, Headers, int, str]] = {
    "bare LF": (b"HTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\n", (OTHER, LENGTH), 5, "bare LF"),
    "bare LF in one line": (LINE + b"X-A: b\nContent-Length: 5\r\n\r\n", (OTHER, LENGTH), 5, "LF"),
    "bare LF at the end": (LINE + b"Content-Length: 5\r\n\n", (LENGTH,), 5, "bare LF"),
    "bare LF before the last": (LINE + b"Content-Length: 5\n\r\n", (LENGTH,), 5, "bare LF"),
    "space": (LINE + b"X-A : b\r\nContent-Length\t : 5\r\n\r\n", (OTHER, LENGTH), 5, "colon"),
    "fold": (
        LINE + b"X-A: b\r\n  c\r\n\t d \r\nContent-Length: 5\r\n\r\n",
        ((b"X-A", b"b c d"), LENGTH),
        5,
        "obs-fold",
    ),
    "fold of spaces": (LINE + b"X-A: b\r\n \r\nContent-Length: 5\r\n\r\n", (OTHER, LENGTH), 5, ""),
    "folded length": (LINE + b"Content-Length:\r\n 5\r\n\r\n", (LENGTH,), 5, "obs-fold"),
    "folded coding": (LINE + b"Transfer-Encoding:\r\n chunked\r\n\r\n", (CODED,), CHUNKED, "fold"),
    "two lengths": (
        LINE + b"Content-Length: 5\r\nX-A: b\r\ncontent-length: 5\r\n\r\n",
        (LENGTH, OTHER),
        5,
        "the same Content-Length more than once",
    ),
    "a list of lengths": (LINE + b"Content-Length: 5, 5,5\r\n\r\n", (LENGTH,), 5, "more than once"),
    "identity": (
        LINE + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n",
        (LENGTH,),
        5,
        "Transfer-Encoding: identity",
    ),
    "identity alone": (LINE + b"Transfer-Encoding: Identity\r\n\r\n", (), UNTIL_CLOSE, "identity"),
    "identity in 1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        (),
        UNTIL_CLOSE,
        "identity",
    ),
    "identity before chunked": (
        LINE + b"Transfer-Encoding: identity, chunked\r\n\r\n",
        (CODED,),
        CHUNKED,
        "identity",
    ),
    "chunked twice": (
        LINE + b"Transfer-Encoding: chunked\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        (CODED, OTHER),
        CHUNKED,
        "chunked more than once",
    ),
    "chunked beside a length": (
        LINE + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n",
        (CODED,),
        CHUNKED,
        "both Transfer-Encoding and Content-Length",
    ),
    "chunked before two lengths": (
        LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        (CODED,),
        CHUNKED,
        "both",
    ),
    "all at once": (
        b"HTTP/1.1 200 OK\nTransfer-Encoding : identity,\n chunked\nContent-Length: x\nX-A: b\n\n",
        (CODED, OTHER),
        CHUNKED,
        "bare LF",
    ),
}

REFUSED = {
    "lengths that differ": (
        LINE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "Content-Length",
    ),
    "lengths spelled in two ways": (LINE + b"Content-Length: 5, 05\r\n\r\n", "Content-Length"),
    "a length that is no number": (LINE + b"Content-Length: -5, -5\r\n\r\n", "Content-Length"),
    "another coding": (LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "other than chunked"),
    "another coding, identity": (LINE + b"Transfer-Encoding: gzip,identity\r\n\r\n", "other than"),
    "a coding in 1.0": (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"),
    "a fold before any field": (LINE + b" X-A: b\r\n\r\n", "malformed"),
    "a line without a colon": (LINE + b"garbage\r\nX-A : b\r\n\r\n", "malformed"),
    "no name": (LINE + b" : b\r\n\r\n", "malformed"),
    "a bare CR": (LINE + b"X-A: b\rX-B: c\r\n\r\n", ""),
    "a bare CR in a length that goes": (
        LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 2\rX-A: b\n\n",
        "bare CR",
    ),
    "CR CR LF": (LINE + b"X-A: b\r\r\n\r\n", ""),
    "a NUL": (LINE + b"X-A: b\0\nX-B: c\r\n\r\n", "malformed"),
    "a status of four digits": (b"HTTP/1.1 9999 X\n\n", "status line"),
    "another version": (b"HTTP/2.0 200 OK\r\n\r\n", "HTTP/1"),
    "in lower case": (b"http/1.1 200 OK\r\n\r\n", "HTTP/1"),
    "too many fields": (LINE + b"X : y\r\n" * 21 + b"\r\n", "limits.header_count"),
    "too many fields with LF": (LINE + b"X: y\n" * 21 + b"\n", "limits.header_count"),
    "too large": (LINE + b"X: " + b"y" * 2000 + b"\n\n", "limits.head_bytes"),
}


def taken(rules: AnswerRules, *segments: bytes) -> tuple[ResponseHead, bytes, tuple[str, ...]]:
    """The one head in these segments, what is left, and what was repaired."""
    heads, buffer = AnswerHeads(rules), b""
    for place, segment in enumerate(segments):
        buffer += segment
        head, buffer = heads.take(buffer)
        if head is not None:
            return head, buffer + b"".join(segments[place + 1 :]), heads.faults
    raise AssertionError(buffer)


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[place : place + 1] for place in range(len(raw))]


def refusal(rules: AnswerRules, *segments: bytes) -> str:
    with pytest.raises(BadUpstreamAnswer) as caught:
        taken(rules, *segments)
    return str(caught.value)


class TestRepaired:
    @pytest.mark.parametrize("name", REPAIRED)
    def test_it_has_one_framing(self, name: str) -> None:
        """However it is cut; what stands behind it stays as it is."""
        raw, headers, length, fault = REPAIRED[name]
        body = b"hello\r\n\r\n\n\n"
        for segments in ([raw + body], bytewise(raw + body)):
            head, rest, faults = taken(LENIENT, *segments)
            assert head.headers == headers
            assert response_length(b"GET", head) == length
            assert rest == body
            assert any(fault in one for one in faults)

    @pytest.mark.parametrize("name", REPAIRED)
    def test_it_is_well_formed_when_it_goes_on(self, name: str) -> None:
        head, _, _ = taken(LENIENT, REPAIRED[name][0])
        again = parse_response_head(head.encoded + b"\r\n", HeadLimits())
        assert again.headers == head.headers

    @pytest.mark.parametrize("name", REPAIRED)
    def test_without_leniency_it_is_refused(self, name: str) -> None:
        """The fault and the setting are named, however it is cut."""
        raw, _, _, fault = REPAIRED[name]
        for segments in ([raw], bytewise(raw)):
            said = refusal(STRICT, *segments)
            assert "upstream: {lenient: true}" in said
        assert fault in refusal(STRICT, raw)

    def test_a_bare_lf_is_refused_as_soon_as_it_is_here(self) -> None:
        """Nobody waits for the end of a head that will be refused."""
        assert "bare LF" in refusal(STRICT, b"HTTP/1.1 200 OK\n")

    def test_each_fault_is_said_once(self) -> None:
        raw = LINE + b"X-A: b\r\n c\r\n d\r\nX-B : c\r\nX-C : d\r\n\r\n"
        assert taken(LENIENT, raw)[2] == ("a folded field (obs-fold)", "white space before a colon")

    def test_a_well_formed_head_has_no_fault(self) -> None:
        head, rest, faults = taken(STRICT, LINE + b"X-A: b\r\nContent-Length: 5\r\n\r\n\nhello")
        assert (head.headers, rest, faults) == ((OTHER, LENGTH), b"\nhello", ())

    def test_a_body_with_empty_lines_ends_no_head(self) -> None:
        """The first empty line does, whichever line end it has; bounds are the head's."""
        body = b"x" * 3000 + b"\r\n\r\n"
        _, rest, _ = taken(LENIENT, b"HTTP/1.1 200 OK\nContent-Length: 3004\n\n" + body)
        assert rest == body

    def test_interim_heads_count_too(self) -> None:
        """What was repaired in one head of a connection holds for all that follow."""
        heads = AnswerHeads(LENIENT)
        head, rest = heads.take(b"HTTP/1.1 103 Early Hints\nLink: </a>\n\n" + LINE + b"\r\n")
        assert head is not None
        assert (head.status, head.headers) == (103, ((b"Link", b"</a>"),))
        head, rest = heads.take(rest)
        assert head is not None
        assert (head.status, rest) == (200, b"")
        assert heads.faults == ("lines that end in a bare LF",)


class TestRefused:
    @pytest.mark.parametrize("name", REFUSED)
    @pytest.mark.parametrize("rules", [LENIENT, STRICT], ids=["lenient", "strict"])
    def test_what_cannot_be_repaired(self, name: str, rules: AnswerRules) -> None:
        raw, words = REFUSED[name]
        refusal(rules, *bytewise(raw))
        said = refusal(rules, raw)
        assert words in said
        assert "the upstream" in said
        assert "lenient: true" not in said or rules is STRICT

    @pytest.mark.parametrize(
        ("begun", "words"),
        [
            (b"\x15\x03\x01\x00\x02\x02\x46", "https://"),
            (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2"),
            (b"\0\0\0\x08R\0\0\0\x08", "does not answer in HTTP/1"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP/1"),
            (b"220 smtp.test ESMTP\r\n", "does not answer in HTTP/1"),
            (b"<html>", "does not answer in HTTP/1"),
            (b"\r\n", "does not answer in HTTP/1"),
            (b"HTTP/1.1 OK\r\n", "status line"),
            (b"HTTP/1.1 20 OK\n", "status line"),
            (b"HTTP/1.1 200 OK\rX", "bare CR"),
            (b"HTTP/1.1 200 OK\r\nX: y\rz", "bare CR"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2001, "limits.head_bytes"),
        ],
    )
    def test_at_once_where_no_further_byte_makes_it_an_answer(
        self, begun: bytes, words: str
    ) -> None:
        assert words in refusal(LENIENT, begun)

    @pytest.mark.parametrize("begun", [b"H", b"HTTP/1.", LINE, LINE[:-1], LINE + b"X: y\n"])
    def test_not_sooner(self, begun: bytes) -> None:
        """What can still become an answer is waited for."""
        heads = AnswerHeads(LENIENT)
        assert heads.take(begun) == (None, begun)


HEADS = st.binary(max_size=100).map(lambda tail: LINE + tail + b"\r\n\r\n") | damaged(
    [raw for raw, *_ in REPAIRED.values()] + [raw for raw, _ in REFUSED.values()]
)


class TestHostile:
    @given(HEADS)
    @example(LINE + b"Transfer-Encoding: chunked\n\r\nContent-Length: 5\r\n\r\n")
    @example(
        LINE + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"
        b"Content-Length: 2\rHTTP/1.1 200 OK\nX-A: b\nContent-Length: 5\n\n"
    )
    def test_an_answer_with_one_framing_or_a_refusal(self, raw: bytes) -> None:
        """And the same however it is cut."""
        found: list[tuple[Headers, bytes] | None] = []
        for segments in ([raw], bytewise(raw)):
            try:
                head, rest, _ = taken(LENIENT, *segments)
            except (BadUpstreamAnswer, AssertionError):
                found.append(None)
                continue
            text = b"".join([head.reason, *map(b"".join, head.headers)])
            assert not set(text) & set(b"\r\n\0")
            names = [name.lower() for name, _ in head.headers]
            assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
            again = parse_response_head(head.encoded + b"\r\n", HeadLimits())
            assert again.headers == head.headers
            found.append((head.headers, rest))
        assert found[0] == found[1]

    @given(HEADS)
    def test_the_strict_parser_takes_no_bare_lf(self, raw: bytes) -> None:
        """So a head that it takes had no earlier end."""
        head = raw[: (raw + b"\r\n\r\n").find(b"\r\n\r\n")] + b"\r\n\r\n"
        if head.count(b"\n") != head.count(b"\r\n"):
            with pytest.raises(BadUpstreamAnswer):
                parse_response_head(head, HeadLimits())
