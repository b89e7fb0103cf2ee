"""Tunnels in memory: what one goes on as, and two ends that nobody looks between."""

from __future__ import annotations

import pytest
from tunnel_ends import Listener, Wire, connected
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.listeners.client import ConnectionLimits
from buffr.listeners.tunnel import RawTunnel, TunnelStart

GONE = Failure(ConnectionDone())


class Successor(Protocol):
    """Notes what comes to it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.received: list[bytes] = []
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Successor):
    halves = 0

    def readConnectionLost(self) -> None:
        self.halves += 1

    def writeConnectionLost(self) -> None:
        """Of no interest here."""


class Started:
    """A tunnel on its listener; ``made`` are those who went on with it."""

    def __init__(self, plain: type[Successor] = Successor) -> None:
        self.listener = Listener()
        self.made: list[Successor] = []
        self.start = TunnelStart(
            self.listener, lambda: self._make(Successor("tls")), lambda: self._make(plain("plain"))
        )
        self.wire = connected(self.start)

    def _make(self, one: Successor) -> Successor:
        self.made.append(one)
        return one


class TestTunnelStart:
    @pytest.mark.parametrize(
        ("first", "kind"),
        [
            (b"\x16", "tls"),
            (b"\x16\x03\x01", "tls"),
            (b"GET / HTTP/1.1\r\n", "plain"),
            (b"\r", "plain"),
            (b"\x00", "plain"),
            (b"\x80", "plain"),
        ],
    )
    def test_the_first_byte_tells(self, first: bytes, kind: str) -> None:
        """RFC 8446 5.1: a handshake begins with 22. Whatever else it is, HTTP will say."""
        started = Started()
        for data in (first, b"more", b"\x16"):
            started.start.dataReceived(data)
        assert [one.kind for one in started.made] == [kind]
        assert started.made[0].received == [first, b"more", b"\x16"]
        assert started.made[0].transport is started.wire

    def test_nothing_is_made_before(self) -> None:
        """No handshake, no context, no certificate for a tunnel that nobody uses."""
        started = Started()
        started.start.connectionLost(GONE)
        assert not started.made
        assert not started.listener.known

    def test_it_has_its_time_to_begin(self) -> None:
        started = Started()
        started.listener.later(20)
        assert not started.wire.ends
        started.listener.later(0.5)
        assert started.wire.ends == ["cut"]

    def test_what_has_begun_has_its_own_times(self) -> None:
        started = Started()
        started.start.dataReceived(b"\x16")
        started.listener.later(1000)
        assert not started.wire.ends

    def test_without_a_limit_it_may_wait_for_ever(self) -> None:
        listener = Listener(ConnectionLimits(head_s=0))
        wire = connected(TunnelStart(listener, Protocol, Protocol))
        listener.later(1e6)
        assert not wire.ends

    def test_a_listener_that_stops_closes_it_unless_it_has_begun(self) -> None:
        started = Started()
        started.start.stop()
        assert started.wire.ends == ["closed"]
        begun = Started()
        begun.start.dataReceived(b"x")
        begun.start.stop()
        assert not begun.wire.ends
        begun.start.cut()
        assert begun.wire.ends == ["cut"]

    def test_the_end_reaches_who_went_on(self) -> None:
        started = Started()
        started.start.dataReceived(b"x")
        started.start.connectionLost(GONE)
        assert started.made[0].lost == [GONE]

    def test_a_half_closed_client_is_left_to_who_can_answer_it(self) -> None:
        able = Started(HalfCloseable)
        able.start.dataReceived(b"GET")
        able.start.readConnectionLost()
        assert isinstance(able.made[0], HalfCloseable)
        assert able.made[0].halves == 1
        assert not able.wire.ends

    @pytest.mark.parametrize("begun", [b"", b"\x16", b"x"])
    def test_others_are_closed(self, begun: bytes) -> None:
        unable = Started()
        if begun:
            unable.start.dataReceived(begun)
        unable.start.readConnectionLost()
        assert unable.wire.ends == ["closed"]


class Pair:
    """Two ends joined, as a client and an origin; ``ended`` counts."""

    def __init__(self, early: bytes = b"") -> None:
        self.ended = 0
        self.client, self.origin = RawTunnel(self._end), RawTunnel()
        self.origin_wire = connected(self.origin)
        if early:
            self.origin.dataReceived(early)
        self.client_wire = connected(self.client)
        self.client.join(self.origin)

    def _end(self) -> None:
        self.ended += 1

    @property
    def wires(self) -> tuple[Wire, Wire]:
        return self.client_wire, self.origin_wire


class TestRawTunnel:
    def test_bytes_pass_as_they_come(self) -> None:
        pair = Pair()
        pair.client.dataReceived(b"\x00a")
        pair.origin.dataReceived(b"b\xff")
        assert (pair.origin_wire.taken(), pair.client_wire.taken()) == (b"\x00a", b"b\xff")

    def test_what_came_before_both_ends_were_there_is_not_lost(self) -> None:
        """Servers that speak first may do so at once."""
        pair = Pair(early=b"220 hello")
        pair.origin.dataReceived(b"!")
        assert pair.client_wire.taken() == b"220 hello!"

    def test_each_end_holds_the_other_back(self) -> None:
        pair = Pair()
        for wire, other in (pair.wires, pair.wires[::-1]):
            assert wire.producer is not None
            wire.producer.pauseProducing()
            assert other.paused
            assert not wire.paused
            wire.producer.resumeProducing()
            assert not other.paused

    def test_a_half_goes_on_to_the_other_side(self) -> None:
        """And the other direction stays open until its own end."""
        pair = Pair()
        pair.client.readConnectionLost()
        assert pair.origin_wire.ends == ["half closed"]
        assert pair.client_wire.ends == []
        pair.origin.dataReceived(b"still here")
        assert pair.client_wire.taken() == b"still here"
        pair.origin.readConnectionLost()
        assert pair.client_wire.ends == ["closed"]
        assert "closed" in pair.origin_wire.ends

    def test_a_half_closed_side_is_no_longer_held_back(self) -> None:
        """Nothing more is written there, so that nobody waits for it."""
        pair = Pair()
        pair.client.readConnectionLost()
        assert pair.origin_wire.producer is None
        assert pair.client_wire.producer is not None

    @pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionLost()])
    def test_an_end_that_is_lost_takes_the_other_with_it(self, reason: Exception) -> None:
        """What was written is still sent: it is closed, and not cut."""
        for ours in (True, False):
            pair = Pair()
            lost, wire = (
                (pair.client, pair.origin_wire) if ours else (pair.origin, pair.client_wire)
            )
            lost.connectionLost(Failure(reason))
            assert wire.ends == ["closed"]
            assert wire.producer is None
            assert pair.ended == int(ours)

    def test_the_end_is_told_once(self) -> None:
        pair = Pair()
        pair.client.connectionLost(GONE)
        pair.origin.connectionLost(GONE)
        pair.client.connectionLost(GONE)
        assert pair.ended == 1

    def test_an_end_without_a_peer_closes(self) -> None:
        """The client may leave while the origin is still dialled."""
        end = RawTunnel()
        wire = connected(end)
        end.readConnectionLost()
        assert wire.ends == ["closed"]
        end.connectionLost(GONE)
