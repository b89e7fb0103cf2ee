"""What is said of clients that do not take buffr's certificate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import define, field
from OpenSSL import SSL
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from buffr.commands.ca.hints import HINTS
from buffr.listeners.handshakes import RUNTIMES, HandshakeReports

UNKNOWN_CA = SSL.Error([("SSL routines", "", "tlsv1 alert unknown ca")])


@implementer(ILogObserver)
@define(eq=False)
class _Observer:
    lines: list[str] = field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        if "buffr_text" in event:
            self.lines.append(event["buffr_text"])


@pytest.fixture
def said() -> Iterator[list[str]]:
    observer = _Observer()
    globalLogPublisher.addObserver(observer)
    yield observer.lines
    globalLogPublisher.removeObserver(observer)


class TestLeft:
    def test_within_the_handshake_or_at_once_after_it(self, said: list[str]) -> None:
        reports = HandshakeReports()
        reports.left("a.test", "", None)
        reports.left("b.test", "", 0.1)
        reports.left("b.test", "", None)
        assert len(said) == 2
        for line, host in zip(said, ("a.test", "b.test"), strict=True):
            assert f"host={host}" in line
            assert "it may not trust buffr's CA" in line
            assert "`node`" in line

    def test_a_connection_that_was_kept_in_store(self, said: list[str]) -> None:
        """Browsers open connections ahead, and close those that they had no use for."""
        HandshakeReports().left("a.test", "", 30)
        assert said == []

    def test_a_client_that_has_asked_before(self, said: list[str]) -> None:
        """It trusts the CA, whatever it leaves for; another client may not."""
        reports = HandshakeReports()
        reports.asked("a.test", "Mozilla/5.0")
        reports.left("a.test", "Mozilla/5.0", 0.1)
        assert said == []
        reports.left("a.test", "Wget/1.21.3", 0.1)
        assert "client=Wget/1.21.3" in said[0]
        assert "--install-hint wget" in said[0]


class TestHints:
    @pytest.mark.parametrize(
        ("agent", "runtime"),
        [
            ("curl/8.5.0", "curl"),
            ("Go-http-client/1.1", "go"),
            ("Java/17.0.9", "java"),
            ("Debian APT-HTTP/1.3 (2.6.1)", "apt"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "firefox"),
            ("Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML) Chrome/131.0 Safari/537.36", "chromium"),
        ],
    )
    def test_by_the_user_agent(self, said: list[str], agent: str, runtime: str) -> None:
        HandshakeReports().failed("a.test", agent, UNKNOWN_CA)
        assert f"`buffr ca --install-hint {runtime}`" in said[0]

    def test_a_client_without_a_name(self, said: list[str]) -> None:
        HandshakeReports().failed("a.test", "", UNKNOWN_CA)
        assert "`buffr ca` prints" in said[0]
        assert "bypass" in said[0]

    def test_each_is_one_of_buffr_ca(self) -> None:
        assert {runtime for _, runtime in RUNTIMES} <= {hint.runtime for hint in HINTS}
