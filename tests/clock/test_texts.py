"""Instants in texts: by the names of their members, in tokens, and in signed URLs."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from google.auth import jwt as google_jwt
from hypothesis import given
from hypothesis import strategies as st

from buffr.clock.messages import moved_back, moved_fields
from buffr.clock.names import TimeNames
from buffr.clock.texts import MovingStream, TextMover, is_text
from buffr.message import Request

OLD, NEW = 1_764_410_000, 1_795_946_000


def move(instant: int, unit: int) -> int:
    moved = instant + NEW - OLD
    return moved - (moved - instant) % unit


def move_back(instant: int, _unit: int) -> int:
    return instant - NEW + OLD


MOVER = TextMover(move, TimeNames())
BACK = TextMover(move_back, TimeNames())
SIGNED = b"https://b.test/k?X-Amz-Algorithm=A&X-Amz-Date=%b&X-Amz-Expires=300&X-Amz-Signature=ab"


def token(payload: dict[str, object], signature: bytes = b"c2lnbmF0dXJl") -> bytes:
    parts = [json.dumps(each, separators=(",", ":")).encode() for each in (HEAD, payload)]
    head, claims = (urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return b"%b.%b.%b" % (head, claims, signature)


HEAD: dict[str, object] = {"alg": "RS256", "typ": "JWT"}
CLAIMS: dict[str, object] = {"iss": "i", "exp": OLD + 300, "iat": OLD, "sub": "a", "n": [1]}
MOVED_CLAIMS = {**CLAIMS, "exp": NEW + 300, "iat": NEW}

TEXTS = [
    (b'{"created": 1764410000, "n": 1764410000}', b'{"created": 1795946000, "n": 1764410000}'),
    (b'{"expires_in":3600,"created":17}', b'{"expires_in":3600,"created":17}'),
    (b'{"current_period_end":1764410000}', b'{"current_period_end":1795946000}'),
    (b'{"exp":"1764410000"}', b'{"exp":"1795946000"}'),
    (b'{"createTime" : "2025-11-29T09:53:20.5Z"}', b'{"createTime" : "2026-11-29T09:53:20.5Z"}'),
    (b'{"birth_date":"1990-01-01T00:00:00Z"}', b'{"birth_date":"1990-01-01T00:00:00Z"}'),
    (b'[{"lastModifiedMs":1764410000123}]', b'[{"lastModifiedMs":1795946000123}]'),
    (b'data: {"created":1764410000}\n\n', b'data: {"created":1795946000}\n\n'),
    (b'{"a":"{\\"created\\":1764410000}"}', b'{"a":"{\\"created\\":1795946000}"}'),
    (
        b"<r><Expiration>2025-11-29T09:53:20Z</Expiration><Id>1764410000</Id></r>",
        b"<r><Expiration>2026-11-29T09:53:20Z</Expiration><Id>1764410000</Id></r>",
    ),
    (SIGNED % b"20251129T095320Z", SIGNED % b"20261129T095320Z"),
    (
        b'{"u":"https://c.test/f?Expires=1764410000\\u0026Signature=a"}',
        b'{"u":"https://c.test/f?Expires=1795946000\\u0026Signature=a"}',
    ),
    (
        b"https://a.test/c?sv=2023-11-03&st=2025-11-29T09%3A53%3A20Z&se=2025-11-29&sig=x",
        b"https://a.test/c?sv=2023-11-03&st=2026-11-29T09%3A53%3A20Z&se=2026-11-29&sig=x",
    ),
    (b"?created=1764410000&page=2", b"?created=1764410000&page=2"),
]


class TestTexts:
    @pytest.mark.parametrize(("text", "moved"), TEXTS)
    def test_whole(self, text: bytes, moved: bytes) -> None:
        assert MOVER(text) == moved

    @given(st.lists(st.integers(0, 900), max_size=6))
    def test_in_any_pieces(self, cuts: list[int]) -> None:
        """The same, wherever the text is cut."""
        text = b", ".join(text for text, _ in TEXTS) + token(CLAIMS) + b" "
        stream, at, out = MovingStream(MOVER), 0, b""
        for cut in [*sorted(cuts), len(text)]:
            out += stream.feed(text[at:cut])
            at = max(at, cut)
        assert out + stream.end() == MOVER(text)
        assert stream.changed

    def test_an_event_does_not_wait_for_the_next(self) -> None:
        stream = MovingStream(MOVER)
        assert stream.feed(b'data: {"created":1764410000}\n\n').endswith(b"1795946000}\n\n")
        assert stream.feed(b'{"text": "a long value, ') == b"{"
        assert stream.end() == b'"text": "a long value, '

    def test_what_waits_is_bounded(self) -> None:
        stream = MovingStream(MOVER)
        sent = sum(len(stream.feed(b'"' + b"x" * 1000)) for _ in range(100))
        assert sent >= 100_000 - 17_000

    def test_names_of_the_settings(self) -> None:
        mover = TextMover(move, TimeNames(also=("N",), never=("created",)))
        text = b'{"created": 1764410000, "n": 1764410000}'
        assert mover(text) == b'{"created": 1764410000, "n": 1795946000}'

    @pytest.mark.parametrize(
        ("media_type", "text"),
        [
            (b"application/json", True),
            (b"application/problem+json", True),
            (b"text/event-stream", True),
            (b"application/x-ndjson", True),
            (b"text/xml", True),
            (b"", True),
            (b"image/png", False),
            (b"application/octet-stream", False),
            (b"application/grpc", False),
        ],
    )
    def test_which_bodies(self, media_type: bytes, *, text: bool) -> None:
        assert is_text(media_type) is text


class TestTokens:
    def test_claims_are_kept_and_the_signature_is_a_stand_in(self) -> None:
        moved = MOVER(b'{"id_token":"%b"}' % token(CLAIMS))
        id_token = json.loads(moved)["id_token"]
        assert google_jwt.decode(id_token, verify=False) == MOVED_CLAIMS
        head, _, signature = id_token.split(".")
        assert json.loads(urlsafe_b64decode(head + "==")) == HEAD
        assert signature == "REDACTED-signature"

    def test_a_stand_in_of_redaction_is_kept(self) -> None:
        moved = MOVER(token(CLAIMS, b"REDACTED-id-token-1234abcd"))
        assert moved == token(MOVED_CLAIMS, b"REDACTED-id-token-1234abcd")
        assert BACK(moved) == token(CLAIMS, b"REDACTED-id-token-1234abcd")

    @pytest.mark.parametrize(
        "text", [token({"sub": "a"}), b"eyJhbGciOi.eyJ%b.x" % (b"A" * 9), token(CLAIMS) + b".a.b"]
    )
    def test_no_date_and_no_token(self, text: bytes) -> None:
        assert MOVER(text) == text


class TestFields:
    @pytest.mark.parametrize(
        ("name", "value", "moved"),
        [
            (b"Date", b"Sat, 29 Nov 2025 09:53:20 GMT", b"Sun, 29 Nov 2026 09:53:20 GMT"),
            (b"Retry-After", b"Sat, 29 Nov 2025 09:53:20 GMT", b"Sun, 29 Nov 2026 09:53:20 GMT"),
            (b"Retry-After", b"120", b"120"),
            (b"Expires", b"0", b"0"),
            (b"Expires", b"Thu, 01 Jan 1970 00:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (b"anthropic-ratelimit-reset", b"2025-11-29T09:53:20Z", b"2026-11-29T09:53:20Z"),
            (b"X-RateLimit-Reset", b"1764410000", b"1795946000"),
            (b"X-Request-Id", b"1764410000", b"1764410000"),
            (b"Content-Length", b"1764410000", b"1764410000"),
            (b"Deprecation", b"@1764410000", b"@1795946000"),
            (
                b"Set-Cookie",
                b"a=1764410000; Path=/; expires=Sat, 29-Nov-2025 09:53:20 GMT; Secure",
                b"a=1764410000; Path=/; expires=Sun, 29-Nov-2026 09:53:20 GMT; Secure",
            ),
            (b"Location", SIGNED % b"20251129T095320Z", SIGNED % b"20261129T095320Z"),
        ],
    )
    def test_moved(self, name: bytes, value: bytes, moved: bytes) -> None:
        assert moved_fields(((name, value),), MOVER) == ((name, moved),)

    def test_a_token_in_a_cookie(self) -> None:
        fields = ((b"Set-Cookie", b"sid=%b; HttpOnly" % token(CLAIMS, b"REDACTED-sid")),)
        want = b"sid=%b; HttpOnly" % token(MOVED_CLAIMS, b"REDACTED-sid")
        assert moved_fields(fields, MOVER) == ((b"Set-Cookie", want),)


class TestBack:
    def test_wherever_a_client_sends_them(self) -> None:
        """Re-encoded, under any name."""
        request = Request(
            b"POST",
            b"/x?since=2026-11-29T09%3A53%3A20.5Z&page=1795946000",
            ((b"If-Modified-Since", b"Sun, 29 Nov 2026 09:53:20 GMT"),),
        )
        body = b'{"after": 1795946000123, "t": "%b"}' % token(MOVED_CLAIMS, b"REDACTED-t")
        found = moved_back(request, body, BACK)
        assert found is not None
        assert found[0].target == b"/x?since=2025-11-29T09%3A53%3A20.5Z&page=1764410000"
        assert found[0].headers == ((b"If-Modified-Since", b"Sat, 29 Nov 2025 09:53:20 GMT"),)
        assert found[1] == b'{"after": 1764410000123, "t": "%b"}' % token(CLAIMS, b"REDACTED-t")

    def test_nothing_to_move(self) -> None:
        assert moved_back(Request(b"GET", b"/a1795946000b", ()), b"17959460001", BACK) is None
