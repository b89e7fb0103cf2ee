"""The reactor with nothing around its calls does what Twisted's does."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from twisted.internet.main import CONNECTION_LOST
from twisted.python import log

pytest.importorskip("twisted.internet.epollreactor", exc_type=ImportError)

from buffr.transport.reactor import plain_epoll

_INSTALLS = """
from buffr.transport.reactor import install
{before}
install()
from twisted.internet import reactor
print(type(reactor).__name__)
"""
_RENAMED = """
from twisted.internet.posixbase import _PollLikeMixin as mixin
del mixin._doReadOrWrite
"""


class Reader:
    """Is ready at once, and says that it is lost."""

    def __init__(
        self, calls: list[str], end: socket.socket, *, broken: bool, reads_badly: bool = False
    ) -> None:
        self._reads_badly = reads_badly
        self._calls = calls
        self._end = end
        self._broken = broken

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        return "-"

    def doRead(self) -> Exception:
        self._calls.append("read")
        if self._reads_badly:
            raise LookupError
        return CONNECTION_LOST

    def connectionLost(self, reason: object) -> None:
        self._calls.append("lost")
        if self._broken:
            raise ZeroDivisionError


class TestDefects:
    def test_one_harms_no_other(self) -> None:
        """It is logged, and whoever else is ready has its turn."""
        reactor, calls = plain_epoll(), list[str]()
        reactor.startRunning(installSignalHandlers=False)
        errors: list[dict[str, object]] = []
        log.addObserver(errors.append)
        pairs = [socket.socketpair() for _ in range(3)]
        for here, there in pairs:
            reactor.addReader(Reader(calls, here, broken=True, reads_badly=here is pairs[1][0]))
            there.send(b"x")
        reactor.iterate(1)
        log.removeObserver(errors.append)
        for each in pairs:
            for end in each:
                end.close()
        assert calls == ["read", "lost"] * 3
        failures = [str(each.get("failure")) for each in errors]
        assert sum("ZeroDivisionError" in each for each in failures) == 3
        assert sum("LookupError" in each for each in failures) == 1


class TestTheEndOfATurn:
    def test_comes_after_all_that_was_ready(self) -> None:
        """Also after a delayed call, which is not to wait for the next one to be due."""
        reactor, calls = plain_epoll(), list[str]()
        reactor.startRunning(installSignalHandlers=False)
        pairs = [socket.socketpair() for _ in range(2)]
        at_end = reactor.at_turn_end
        for here, there in pairs:
            reader = Reader(calls, here, broken=False)
            reactor.addReader(reader)
            there.send(b"x")
        at_end(lambda: calls.append("first"))
        at_end(lambda: at_end(lambda: calls.append("next")))
        reactor.iterate(60)
        for each in pairs:
            for end in each:
                end.close()
        assert calls == ["read", "lost"] * 2 + ["first"]
        reactor.callLater(0, lambda: at_end(lambda: calls.append("last")))
        reactor.iterate(60)
        assert calls[5:] == ["next", "last"]

    def test_a_defect_harms_no_other(self) -> None:
        reactor, calls, errors = plain_epoll(), list[str](), list[object]()
        reactor.startRunning(installSignalHandlers=False)
        log.addObserver(errors.append)
        reactor.at_turn_end(lambda: 1 // 0)
        reactor.at_turn_end(lambda: calls.append("called"))
        reactor.iterate(60)
        log.removeObserver(errors.append)
        assert calls == ["called"]
        assert len(errors) == 1


class TestInstalling:
    @pytest.mark.parametrize(
        ("before", "kind"),
        [
            ("", "PlainEpoll"),
            ("import twisted.internet.selectreactor as own; own.install()", "SelectReactor"),
            ("from twisted.internet import reactor", "EPollReactor"),
            (_RENAMED, "EPollReactor"),
        ],
        ids=["none", "another", "Twisted's", "with another name"],
    )
    def test_where_there_is_none(self, before: str, kind: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _INSTALLS.format(before=before)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == kind
