"""A live request, its redacted recording and one in clear have the same key."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from long_bodies import cut, live_keys, recorded_key

from buffr.formats.codings import GZIP_START
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import near_misses
from buffr.matching.pieces import go_on
from buffr.matching.rules import MatchRules
from buffr.message import Headers, Request, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

TOKEN = b"tok7f3kX2mP9qLw5vB8"
OTHER = b"dummy-dummy-dummy-12345"
RULES = RedactionRules.with_extra(json=["$.user.ssn"], patterns=["ticket-[0-9]+"])
MATCHER = Matcher(MatchRules(redaction=RULES, header=("X-Trace",)), with_origin=False)


def redacted(request: RecordedRequest, spool_dir: Path | None = None) -> RecordedRequest:
    redactor = Redactor(RULES, b"salt", spool_dir=spool_dir or Path("/tmp"))
    whole = HTTPInteraction(request, ResponseHead(200, b"OK", ()))
    out = redactor.interaction(whole).request
    if out.body.file is not None:
        data = out.body.file.read_bytes()
        return RecordedRequest(out.method, out.target, out.headers, Body.of(data))
    return out


def keys(
    target: bytes, headers: Headers, body: bytes
) -> tuple[MatchKey, MatchKey, MatchKey, RecordedRequest]:
    """Of the live request, of its recording, and of one in clear; and the recording."""
    live = Request(b"POST", target, headers)
    clear = RecordedRequest(b"POST", target, headers, Body.of(body))
    kept = redacted(clear)
    made = live_keys(MATCHER, live, body)
    assert made[-1].digest == MATCHER.recorded(kept).digest  # by its bytes, if it is long
    return made[0], recorded_key(MATCHER, kept), recorded_key(MATCHER, clear), kept


def requests(token: bytes) -> list[tuple[bytes, Headers, bytes]]:
    bearer = (b"Authorization", b"Bearer " + token)
    kind = b"Content-Type"
    multipart = (
        b'--b\r\nContent-Disposition: form-data; name="client_secret"\r\n\r\n%b\r\n'
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n<%b>\r\n--b--\r\n'
    ) % (token, token)
    return [
        (b"/bot/%b/send-it?a=%b" % (token, token), (bearer,), b""),
        (b"/", (bearer, (b"X-Trace", b"of " + token)), b"plain " + token + b"-and-more"),
        (b"/", (bearer,), json.dumps({"password": token.decode(), "a": [1.0, 2]}).encode()),
        (b"/", (bearer,), json.dumps({"echo": f"x/{token.decode()}/y"}).encode()),
        (b"/", (bearer,), b'{"b": "%b", "a": 1}' % base64.b64encode(token)),
        (b"/", ((kind, b"application/x-www-form-urlencoded"),), b"a=1&client_secret=" + token),
        (b"/", (bearer, (kind, b"application/x-www-form-urlencoded")), b"a=1&b=x%20" + token),
        (b"/", (bearer, (kind, b"multipart/form-data; boundary=b")), multipart),
        (b"/", (bearer, (b"Content-Encoding", b"gzip")), gzip.compress(b'{"x":"%b"}' % token)),
        (b"/", (bearer,), b"\0\1\2\3" + token + b"\0\xff"),
        (b"/", (), b'{"user": {"ssn": "%b"}, "t": "ticket-12"}' % token),
        (b"/", (bearer,), b"long " * 250_000 + token + b" and on " * 9000),
        (
            b"/",
            ((kind, b"multipart/form-data; boundary=b"),),
            multipart.replace(b"<%b>" % token, b"y" * (1 << 20)),
        ),
        (b"/", (bearer,), gzip.compress(b'{"n": 1, "x": "%b"}' % token)),  # no field says so
    ]


@pytest.mark.parametrize("number", range(len(requests(TOKEN))))
class TestOneKey:
    def test_recorded(self, number: int) -> None:
        """Redacted or in clear, it is the same; the recording has the secret no more."""
        live, kept, clear, request = keys(*requests(TOKEN)[number])
        assert live.parts == kept.parts == clear.parts
        assert live.digest == kept.digest == clear.digest
        data = request.body.data
        data = gzip.decompress(data) if data.startswith(GZIP_START) else data
        held = request.target + data + b"".join(v for _, v in request.headers)
        assert TOKEN not in held
        assert not any(TOKEN in value for _, value in live.parts)

    def test_another_credential(self, number: int) -> None:
        """A dummy as long as a credential replays what a real one recorded."""
        live = keys(*requests(OTHER)[number])[0]
        assert live.digest == keys(*requests(TOKEN)[number])[1].digest

    def test_played_back(self, number: int) -> None:
        """So does the stand-in from a replayed answer, except in a body that is a digest."""
        stand_in = b"REDACTED-access-token-0a1b2c3d"
        live = keys(*requests(stand_in)[number])[0]
        if number not in (4, 9, 11, 12):  # 4 is base64, and 9 padded to a length
            assert live.digest == keys(*requests(TOKEN)[number])[1].digest


class TestDifferences:
    @given(st.text(st.sampled_from('abc{}":,[]\\ =&'), max_size=40), st.binary(max_size=40))
    def test_any_body(self, text: str, raw: bytes) -> None:
        """Redaction does not change the key of a body that it does not change."""
        for body in (text.encode(), raw, b'{"password":' + text.encode()):
            live, kept, clear, _ = keys(b"/", ((b"Authorization", b"Bearer " + TOKEN),), body)
            assert live.digest == kept.digest == clear.digest

    @pytest.mark.parametrize("fields", [(), ((b"Content-Encoding", b"gzip"),)])
    def test_long_gzip(self, fields: Headers) -> None:
        """With or without a field that says so."""
        text = Random(1).randbytes(1 << 20).hex().encode()
        headers = ((b"Authorization", b"Bearer " + TOKEN), *fields)
        body = gzip.compress(text + TOKEN)
        kept = redacted(RecordedRequest(b"POST", b"/", headers, Body.of(body)))
        assert TOKEN not in gzip.decompress(kept.body.data)
        stored = MATCHER.recorded_long_body(kept)(lambda: cut(kept.body.data), go_on)
        live = live_keys(MATCHER, Request(b"POST", b"/", headers), body)
        assert live[0].parts[-1] == ("body", stored.meant)

    def test_the_rest_counts(self) -> None:
        """Only the secret makes no difference."""
        one = keys(b"/", (), b'{"password": "a", "user": "me"}')[0]
        assert one.digest == keys(b"/", (), b'{"user": "me", "password": "b"}')[1].digest
        assert one.digest != keys(b"/", (), b'{"password": "a", "user": "you"}')[1].digest
        assert one.digest != keys(b"/", (), b'{"user": "me"}')[1].digest

    def test_a_users_own_body(self) -> None:
        """What one credential means for a body is not remembered for another."""
        body = b"it is " + TOKEN
        mine = MATCHER.live(Request(b"POST", b"/", ((b"X-Api-Key", TOKEN),)), body).keys[0]
        yours = MATCHER.live(Request(b"POST", b"/", ((b"X-Api-Key", OTHER),)), body).keys[0]
        assert mine.digest != yours.digest

    @given(st.integers(0, 400))
    def test_misses(self, at: int) -> None:
        """Whatever differs around it, a miss does not show it."""
        text = "some words of a longer text " * 15
        bodies = [
            json.dumps({"n": n, "text": text[:at] + TOKEN.decode() + text[at:] + str(n)}).encode()
            for n in range(2)
        ]
        headers = ((b"Authorization", b"Bearer " + TOKEN),)
        live, other = (keys(b"/%d/" % n + TOKEN, headers, body)[0] for n, body in enumerate(bodies))
        (found,) = near_misses((live,), [(0, other)], RULES)
        assert found.differences
        assert TOKEN.decode() not in repr(found)


class TestFrames:
    def test_an_echo(self) -> None:
        """A message that repeats the handshake's credential is still the recorded one."""
        headers = ((b"Authorization", b"Bearer " + TOKEN),)
        data = Body.of(b'{"auth": "%b", "n": 1}' % TOKEN)
        frame = Frame(Direction.CLIENT, FrameKind.TEXT, data)
        session = WebSocketInteraction(RecordedRequest(b"GET", b"/", headers), frames=(frame,))
        out = Redactor(RULES, b"salt").interaction(session)
        assert isinstance(out, WebSocketInteraction)
        (kept,) = out.frames
        assert TOKEN not in kept.data.data
        frames = MATCHER.frames_of(Request(b"GET", b"/", headers))
        assert frames.same(kept, FrameKind.TEXT, data.data)
        assert not frames.same(kept, FrameKind.TEXT, data.data.replace(b"1", b"2"))
