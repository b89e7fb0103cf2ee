"""The WebSocket handshake, and what is agreed on with it."""

from __future__ import annotations

import pytest

from buffr.errors import BadRequest, BadUpstreamAnswer
from buffr.message import Headers, Request, ResponseHead
from buffr.wire.websocket_deflate import Deflate, accepted, answer_for, without_others
from buffr.wire.websocket_handshake import (
    accept_for,
    asks_websocket,
    check_answer,
    check_request,
    for_next_hop,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
EXTENSIONS = b"Sec-WebSocket-Extensions"


def handshake(
    *changed: tuple[bytes, bytes | None], method: bytes = b"GET", body: int = 0
) -> Request:
    fields: dict[bytes, bytes | None] = {
        b"Host": b"x",
        b"Connection": b"Upgrade",
        b"Upgrade": b"websocket",
        b"Sec-WebSocket-Key": KEY,
        b"Sec-WebSocket-Version": b"13",
        **dict(changed),
    }
    headers = tuple((name, value) for name, value in fields.items() if value is not None)
    upgrade = (fields[b"Upgrade"] or b"").lower()
    return Request(method, b"/", headers, body_length=body, upgrade=upgrade)


def offer(*values: bytes) -> Headers:
    return tuple((EXTENSIONS, value) for value in values)


class TestRequest:
    def test_its_key_has_its_answer(self) -> None:
        """The example of RFC 6455 1.3."""
        assert accept_for(check_request(handshake())) == ACCEPT

    @pytest.mark.parametrize(
        ("changed", "status"),
        [
            ((b"Sec-WebSocket-Key", None), 400),
            ((b"Sec-WebSocket-Key", b"abc"), 400),
            ((b"Sec-WebSocket-Version", None), 426),
            ((b"Sec-WebSocket-Version", b"8"), 426),
        ],
    )
    def test_what_is_wrong_with_it_is_said(
        self, changed: tuple[bytes, bytes | None], status: int
    ) -> None:
        with pytest.raises(BadRequest) as caught:
            check_request(handshake(changed))
        assert caught.value.status == status
        told = (b"Sec-WebSocket-Version", b"13") in caught.value.headers
        assert told is (status == 426)

    def test_two_keys_are_no_key(self) -> None:
        request = handshake()
        twice = Request(
            b"GET", b"/", (*request.headers, (b"sec-websocket-key", KEY)), upgrade=b"websocket"
        )
        with pytest.raises(BadRequest):
            check_request(twice)

    def test_it_has_no_body(self) -> None:
        with pytest.raises(BadRequest):
            check_request(handshake(body=5))

    def test_only_a_get_asks_for_it(self) -> None:
        assert asks_websocket(handshake())
        assert asks_websocket(handshake((b"Upgrade", b"h2c, WebSocket")))
        assert not asks_websocket(handshake(method=b"POST"))
        assert not asks_websocket(handshake((b"Upgrade", b"websocket-x")))


class TestNextHop:
    def test_fields_keep_their_order_and_spelling(self) -> None:
        headers = handshake((b"Connection", b"upgrade"), (b"X-Y", b"1")).headers
        assert for_next_hop(headers) == headers

    def test_what_belongs_to_this_hop_stays_here(self) -> None:
        passed = for_next_hop(
            (
                (b"connection", b"keep-alive, X-Mine, Upgrade"),
                (b"X-Mine", b"1"),
                (b"Upgrade", b"h2c, websocket"),
                (b"Proxy-Authorization", b"Basic x"),
            )
        )
        assert passed == ((b"connection", b"Upgrade"), (b"Upgrade", b"websocket"))


class TestAnswer:
    GOOD = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))

    def test_it_fits_the_key(self) -> None:
        check_answer(ResponseHead(101, b"", (*self.GOOD, (b"Sec-WebSocket-Accept", ACCEPT))), KEY)

    @pytest.mark.parametrize(
        "headers",
        [
            GOOD,
            (*GOOD, (b"Sec-WebSocket-Accept", b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
            (GOOD[0], (b"Sec-WebSocket-Accept", ACCEPT)),
            ((b"Upgrade", b"h2c"), GOOD[1], (b"Sec-WebSocket-Accept", ACCEPT)),
        ],
    )
    def test_or_is_none(self, headers: Headers) -> None:
        with pytest.raises(BadUpstreamAnswer):
            check_answer(ResponseHead(101, b"", headers), KEY)


class TestExtensions:
    def test_offers_that_buffr_cannot_read_are_taken_out(self) -> None:
        ours = b"permessage-deflate; client_max_window_bits"
        headers = (*offer(b'x-a; b="c", ' + ours, b"x-d"), (b"X-Y", b"1"))
        assert without_others(headers) == ((EXTENSIONS, ours), (b"X-Y", b"1"))

    def test_others_stay_as_they_are_spelled(self) -> None:
        headers = offer(b"permessage-deflate;client_max_window_bits ,  permessage-deflate")
        assert without_others(headers) == headers

    def test_what_is_agreed_on(self) -> None:
        offered = offer(b"permessage-deflate; client_max_window_bits")
        answer = offer(
            b"permessage-deflate; client_no_context_takeover; server_max_window_bits=10; "
            b'client_max_window_bits="12"'
        )
        assert accepted(offered, answer) == Deflate(
            client_takeover=False, server_bits=10, client_bits=12
        )
        assert accepted(offered, ()) is None

    @pytest.mark.parametrize(
        "answer",
        [
            b"x-never-offered",
            b"permessage-deflate, permessage-deflate",
            b"permessage-deflate; server_max_window_bits=99",
            b"permessage-deflate; unknown",
            b"permessage-deflate; client_max_window_bits=10",
        ],
    )
    def test_what_nobody_offered_is_refused(self, answer: bytes) -> None:
        with pytest.raises(BadUpstreamAnswer):
            accepted(offer(b"permessage-deflate"), offer(answer))

    def test_nothing_is_agreed_on_without_an_offer(self) -> None:
        with pytest.raises(BadUpstreamAnswer):
            accepted((), offer(b"permessage-deflate"))

    def test_the_first_offer_that_can_be_met_is(self) -> None:
        """zlib has no window of 8 bits for what it deflates."""
        offered = offer(
            b"permessage-deflate; server_max_window_bits=8, "
            b"permessage-deflate; server_no_context_takeover; server_max_window_bits=9"
        )
        assert answer_for(offered) == (
            b"permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
            Deflate(server_takeover=False, server_bits=9),
        )
        assert answer_for(offer(b"x-other")) is None

    @pytest.mark.parametrize("bits", [b"9", b"12", b"15", b'"15"'])
    def test_a_window_that_is_asked_for_is_confirmed(self, bits: bytes) -> None:
        """The largest too: a client may fail the handshake otherwise (RFC 7692 7.1.2.1)."""
        size = bits.strip(b'"')
        assert answer_for(offer(b"permessage-deflate; server_max_window_bits=" + bits)) == (
            b"permessage-deflate; server_max_window_bits=" + size,
            Deflate(server_bits=int(size)),
        )
        assert answer_for(offer(b"permessage-deflate")) == (b"permessage-deflate", Deflate())
