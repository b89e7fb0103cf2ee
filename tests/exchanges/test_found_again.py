"""What was recorded is found again, whatever the size, coding and credentials of its body."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.formats.codings import encoded
from buffr.interaction import Body, HTTPInteraction, Interaction, RecordedRequest
from buffr.matching.body import IN_MEMORY, LongBody
from buffr.matching.matcher import Matcher, MatchRules
from buffr.matching.rules import Normalisation
from buffr.matching.variants import Identity
from buffr.message import Headers, Request, ResponseHead
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.body_files import INLINE_BYTES
from buffr.stores.memory import MemoryInteractions

_T = TypeVar("_T")

RULES = {
    "default": MatchRules(),
    "coded": MatchRules(normalise=Normalisation(content_coding=False)),
    "bytes": MatchRules(normalise=Normalisation(json=False, form=False, multipart=False)),
    "short": MatchRules(body_bytes=IN_MEMORY),
}
TYPES = {"json": b"application/json", "form": b"application/x-www-form-urlencoded", "text": b""}
SALT = b"salt"
KNOWN = "tok7f3kX2mP9qLw5vB8zz"
SECRETS = {
    "none": "",
    "password": "pw1",
    "long password": "hunter2-correct-horse-battery-9",
    "known": KNOWN,
    "shape": "ghp_" + "A1b2C3d4E5f6" * 3,
    "base64": base64.b64encode(b'{"password": "hunter2-correct-horse-9"}').decode(),
}
UNLABELLED = "gzip, unlabelled"
CODINGS = ("", "gzip", UNLABELLED, "deflate", "br", "zstd", "gzip, br")
LIMITS = (1024, 8192, 65536, IN_MEMORY, IN_MEMORY + IN_MEMORY // 4)
DIGITS = base64.b85encode(Random(1).randbytes(1_200_000)).decode().replace("&", "a")


def done(running: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never waits."""
    with pytest.raises(StopIteration) as stopped:
        running.send(None)
    result: _T = stopped.value.value
    return result


@frozen
class Sent:
    kind: str
    size: int
    secret: str
    coding: str
    dense: bool = False

    @property
    def plain(self) -> bytes:
        filling = DIGITS[: self.size] if self.dense else ("ab cd, " * (self.size // 7 + 1))
        text, secret = filling[: self.size], SECRETS[self.secret]
        name = "password" if "password" in self.secret else "note"
        if self.kind == "json":
            return json.dumps({"text": text, name: secret}).encode()
        if self.kind == "form":
            return f"text={text.replace(' ', '+')}&{name}={secret}".encode()
        return f"{text} {name}={secret}".encode()

    @property
    def headers(self) -> Headers:
        coding = () if self.coding in ("", UNLABELLED) else ((b"Content-Encoding", self.coding),)
        told = tuple([(name, value.encode()) for name, value in coding])
        bearer = (b"Authorization", b"Bearer " + KNOWN.encode())
        return ((b"Content-Type", TYPES[self.kind]), bearer, *told)

    @property
    def body(self) -> bytes:
        if self.coding == UNLABELLED:
            return gzip.compress(self.plain, 9)
        # Servers code a body by other means than clients: as it is stored it has another size.
        return encoded(self.coding.encode(), self.plain) if self.coding else self.plain


class Asking:
    """What a buffr makes of a request."""

    def __init__(self, rules: MatchRules, sent: Sent, body: bytes) -> None:
        self.matcher = Matcher(rules, with_origin=False, salt=lambda: SALT)
        self.request = Request(b"POST", b"/p", sent.headers)
        self.raw = body
        self.body: bytes | LongBody = body
        if len(body) > IN_MEMORY or self.matcher.takes_long(self.request, body):
            bodies = RouteBodies(LongBodies(), self.matcher, None)
            self.body = done(bodies.read(self.request, Body.of(body), str))
        self.identity: Identity = self.matcher.live(self.request, self.body)

    def recording(self) -> Interaction:
        """With its redacted body as stored, in a separate file if it is long."""
        request = RecordedRequest(b"POST", b"/p", self.request.headers, Body.of(self.raw))
        if isinstance(self.body, LongBody):
            key = self.matcher.key_of(request, self.body)
            request = evolve(request, body=evolve(request.body, key=key))
        redactor = Redactor(RedactionRules(), SALT)
        kept = redactor.interaction(HTTPInteraction(request, ResponseHead(200, b"OK", ())))
        return kept.with_bodies(_in_memory)

    def finds(self, recording: Interaction) -> bool:
        """Whether a recording answers, which this process may not have made."""
        store = MemoryInteractions().view(self.matcher.recorded_key)
        done(store.append(recording))
        identity = self.identity
        if done(store.find(identity.keys)) is not None:
            return True
        bodies = RouteBodies(LongBodies(), self.matcher, store)
        return done(bodies.find((*identity.keys, *identity.headerless))) is not None


def _in_memory(body: Body) -> Body:
    return body if body.file is None else evolve(Body.of(body.file.read_bytes()), key=body.key)


def check(rules: MatchRules, sent: Sent) -> None:
    body = sent.body
    recorder = Asking(rules, sent, body)
    recording = recorder.recording()
    assert recorder.finds(recording)
    assert Asking(rules, sent, body).finds(recording)
    unread = evolve(recording.request, body=evolve(recording.request.body, key=None))
    assert Asking(rules, sent, body).finds(evolve(recording, request=unread))


sizes = st.builds(
    lambda limit, away: max(0, limit - away), st.sampled_from(LIMITS), st.integers(-40, 120)
)


class TestFoundAgain:
    @given(
        rules=st.sampled_from(sorted(RULES)),
        sent=st.builds(
            Sent,
            st.sampled_from(sorted(TYPES)),
            sizes,
            st.sampled_from(sorted(SECRETS)),
            st.sampled_from(CODINGS),
            st.booleans(),
        ),
    )
    def test_any(self, rules: str, sent: Sent) -> None:
        """By the process that recorded it, and by another one with the same settings."""
        check(RULES[rules], sent)

    @pytest.mark.parametrize("coding", CODINGS[1:])
    @pytest.mark.parametrize("rules", ["default", "coded"])
    @pytest.mark.parametrize("size", [100, IN_MEMORY + 1])
    def test_credential_under_a_coding(self, size: int, rules: str, coding: str) -> None:
        """A short encoded body may decode to much; the stored body was encoded again."""
        check(RULES[rules], Sent("json", size, "long password", coding))

    @pytest.mark.parametrize("secret", ["password", "long password", "shape"])
    @pytest.mark.parametrize("kind", sorted(TYPES))
    def test_grown_beyond_the_limit(self, kind: str, secret: str) -> None:
        """Stand-ins may make a body long that was not."""
        bare = len(Sent(kind, 0, secret, "").plain)
        sent = Sent(kind, INLINE_BYTES - bare, secret, "")
        assert len(sent.body) == INLINE_BYTES
        check(RULES["default"], sent)
        check(RULES["bytes"], sent)
