"""Stand-ins in the format of what they replace."""

from __future__ import annotations

import json
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from google.auth import jwt as google_jwt
from hypothesis import given
from hypothesis import strategies as st

from buffr.interaction import Body, HTTPInteraction, IndexEntry, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.message import Headers, Request, ResponseHead
from buffr.redaction.forms import stand_in
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.redaction.spans import collapsed
from buffr.stores.cassette.index import Filing, Index

SALT = b"salt"
JSON: Headers = ((b"Content-Type", b"application/json"),)


def part(value: object) -> bytes:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def jwt(**claims: object) -> bytes:
    return part({"alg": "RS256", "kid": "1"}) + b"." + part(claims) + b"." + b"c2lnbmF0dXJl" * 4


UUID = b"550e8400-e29b-41d4-a716-446655440000"
HEX = b"9f86d081884c7d659a2feaa0c55ad015"
SECRETS = [UUID, UUID.upper(), HEX, HEX.upper(), HEX * 2, jwt(sub="u-1", exp=1, iss="https://i")]


class TestForms:
    def test_uuid(self) -> None:
        made = stand_in(b"session_id", UUID, SALT)
        assert str(uuid.UUID(made.decode())) == made.decode()
        assert made != stand_in(b"session_id", UUID[::-1], SALT)

    @pytest.mark.parametrize("secret", [HEX, HEX.upper(), HEX * 2])
    def test_hex(self, secret: bytes) -> None:
        made = stand_in(b"token", secret, SALT)
        assert len(made) == len(secret)
        assert re.fullmatch(b"[0-9A-F]+" if secret.isupper() else b"[0-9a-f]+", made)

    def test_jwt(self) -> None:
        """Its head and the claims that do not identify a person are readable; the rest is not."""
        secret = jwt(sub="alice", email="a@b.example", exp=17, iss="https://i", scope="a b")
        head, payload, signature = stand_in(b"id_token", secret, SALT).split(b".")
        assert head == secret.split(b".")[0]
        claims = json.loads(urlsafe_b64decode(payload + b"=="))
        assert (claims["exp"], claims["iss"], claims["scope"]) == (17, "https://i", "a b")
        assert claims["sub"].startswith("REDACTED-sub")
        assert "a@b" not in claims["email"]
        assert re.fullmatch(rb"REDACTED-id-token-[0-9a-f]{8}", signature)

    @pytest.mark.parametrize("name", [b"jwt", b"token", b"auth", b"id_token", b"x" * 50])
    @pytest.mark.parametrize("counted", [True, False])
    @pytest.mark.parametrize("digest", [True, False])
    def test_programs_that_read_claims_read_them(
        self, name: bytes, *, counted: bool, digest: bool
    ) -> None:
        """google-auth decodes the signature, too, before it does not verify it."""
        secret = jwt(exp=17, sub="alice")
        made = stand_in(name, secret, SALT, counted=counted, digest=digest)
        assert google_jwt.decode(made, verify=False)["exp"] == 17
        assert is_pseudonym(made)

    @pytest.mark.parametrize("secret", [b"eyJhIjoxfQ.bm9KU09O.c2ln", b"eyJhIjoxfQ.WzFd.c2ln"])
    def test_a_value_that_only_looks_like_a_jwt(self, secret: bytes) -> None:
        assert stand_in(b"id_token", secret, SALT).startswith(b"REDACTED-id-token")

    @given(st.sampled_from(SECRETS), st.booleans(), st.booleans())
    def test_once_is_enough(self, secret: bytes, counted: bool, digest: bool) -> None:
        made = stand_in(b"session_id", secret, SALT, counted=counted, digest=digest)
        assert is_pseudonym(made)
        assert stand_in(b"session_id", made, SALT, counted=counted) == made
        seen = collapsed(b'{"a": "' + made + b'"}')
        digits = (b"_" + (made[-8:].lower() if digest else b"")) if counted else b""
        if digest or not counted:
            assert seen == b'{"a": "REDACTED' + digits + b'"}'


def _as_body(name: bytes, secret: bytes) -> RecordedRequest:
    return RecordedRequest(b"POST", b"/", JSON, Body.of(b'{"%b": "%b"}' % (name, secret)))


def _as_query(name: bytes, secret: bytes) -> RecordedRequest:
    return RecordedRequest(b"GET", b"/p?%b=%b" % (name, secret), ((b"Accept", b"*/*"),))


def _as_header(name: bytes, secret: bytes) -> RecordedRequest:
    return RecordedRequest(b"GET", b"/p", ((b"X-%b" % name, secret), (b"Accept", b"*/*")))


class TestKeys:
    """A live request finds its own recording, whatever form its stand-in has."""

    @pytest.mark.parametrize("make", [_as_body, _as_query, _as_header])
    @pytest.mark.parametrize("name", [b"session_id", b"sessionId", b"access_token", b"sid", b"jwt"])
    @pytest.mark.parametrize("secret", SECRETS)
    def test_found(self, make: object, name: bytes, secret: bytes) -> None:
        assert callable(make)
        request: RecordedRequest = make(name, secret)
        rules = MatchRules(header=("X-session_id",))
        matcher = Matcher(rules, with_origin=False, salt=lambda: SALT)
        redactor = Redactor(RedactionRules(), SALT)
        kept = redactor.interaction(HTTPInteraction(request, ResponseHead(200, b"OK", ()))).request
        everything = kept.target + kept.body.data + b"".join(value for _, value in kept.headers)
        assert secret not in everything
        index = Index(Filing(matcher.recorded_key))
        index.add(IndexEntry(kept), 0)
        live = Request(request.method, request.target, request.headers)
        assert index.find(matcher.live(live, request.body.data).keys[:1]) is not None

    @pytest.mark.parametrize("make", [_as_body, _as_query, _as_header])
    @pytest.mark.parametrize(("one", "other"), [(UUID, UUID[::-1]), (HEX, HEX[::-1])])
    def test_sessions_are_distinguished(self, make: object, one: bytes, other: bytes) -> None:
        """What is hidden for its name's words still counts."""
        assert callable(make)
        rules = MatchRules(header=("X-session_id",))
        matcher = Matcher(rules, with_origin=False, salt=lambda: SALT)
        keys = set()
        for secret in (one, other):
            request = make(b"session_id", secret)
            live = Request(request.method, request.target, request.headers)
            keys.add(matcher.live(live, request.body.data).keys[0].digest)
        assert len(keys) == 2
