"""Requests for a WebSocket have keys of their own."""

from __future__ import annotations

import pytest

from buffr.interaction import RecordedRequest
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher, differences
from buffr.matching.rules import MatchRules
from buffr.message import Headers, Request
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

MATCHER = Matcher(MatchRules(), with_origin=False)
REDACTOR = Redactor(RedactionRules(), b"salt")
HANDSHAKE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
SECRET = b"sk-proj-1a2B3c4D5e6F7g8H9i0J"


def live(*headers: tuple[bytes, bytes], upgrade: bytes = b"websocket") -> MatchKey:
    request = Request(b"GET", b"/live", (*HANDSHAKE, *headers), upgrade=upgrade)
    return MATCHER.live(request, b"").keys[0]


def recorded(*headers: tuple[bytes, bytes], upgrade: Headers = HANDSHAKE[1:]) -> MatchKey:
    request = RecordedRequest(b"GET", b"/live", (*upgrade, *headers))
    redacted = RecordedRequest(b"GET", b"/live", REDACTOR.headers(request.headers))
    return MATCHER.recorded(redacted)


def offers(names: bytes) -> tuple[bytes, bytes]:
    return (b"Sec-WebSocket-Protocol", names)


class TestUpgrade:
    def test_a_session_is_not_a_plain_get(self) -> None:
        assert live().digest == recorded().digest
        assert live().digest != recorded(upgrade=()).digest
        assert live(upgrade=b"").digest == recorded(upgrade=()).digest
        assert differences(live(), recorded(upgrade=())) == ("upgrade",)

    def test_values_that_are_new_each_time_do_not_count(self) -> None:
        fields = (
            (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
        )
        assert live(*fields).digest == recorded().digest

    def test_subprotocols_count_in_one_spelling(self) -> None:
        assert live(offers(b"a,b")).digest == recorded(offers(b"a"), offers(b" b")).digest
        assert live(offers(b"a")).digest != recorded().digest
        assert live(offers(b"a")).digest != recorded(offers(b"b")).digest

    @pytest.mark.parametrize(
        "names",
        [
            b"realtime, openai-insecure-api-key.%b, openai-beta.realtime-v1",
            b"token, %b",
            b"base64url.bearer.authorization.k8s.io.%b",
            b"chat, %b",
        ],
    )
    def test_a_secret_among_them_is_one_constant(self, names: bytes) -> None:
        other = SECRET[::-1]
        key = live(offers(names % SECRET))
        assert key.digest == recorded(offers(names % other)).digest
        assert all(SECRET not in value for _, value in key.parts)
        ((_, stored),) = REDACTOR.headers((offers(names % SECRET),))
        assert SECRET not in stored
        assert REDACTOR.headers((offers(stored),)) == (offers(stored),)

    @pytest.mark.parametrize(
        "names", [b"graphql-transport-ws", b"openai-beta.realtime-v1", b"mqttv3.1", b"v12.stomp"]
    )
    def test_names_of_protocols_stay(self, names: bytes) -> None:
        assert REDACTOR.headers((offers(names),)) == (offers(names),)
