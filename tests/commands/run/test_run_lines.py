"""Which lines of the log reach the terminal."""

from __future__ import annotations

import io

import pytest
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from buffr.commands.run.outcome import Tally
from buffr.commands.run.proxied import RunLog
from buffr.listeners.handshakes import HandshakeReports
from buffr.log import ExchangeLog, logger_writer, say


def logged(form: str, *, all_of_it: bool) -> tuple[str, Tally]:
    """What is written of some events, and what was noted."""
    stream, tally = io.StringIO(), Tally()
    log = RunLog(stream, form, tally, all_of_it=all_of_it)
    globalLogPublisher.addObserver(log)
    try:
        exchanges = ExchangeLog(Clock(), logger_writer, form)
        exchanges.exchange(0.0, "INFO", "GET /fine", 200, 0.1, "cassette")
        exchanges.exchange(0.0, "WARN", "GET /level=INFO", 599, 0.1, "miss", "no recording")
        exchanges.exchange(0.0, "ERROR", "GET /failed", 502, 0.1, "upstream", "refused")
        exchanges.exchange(0.0, "INFO", "GET /?level=WARN", 200, 0.1, "cassette")
        exchanges.flush()
        say(LogLevel.info, "listening", addr="127.0.0.1:1")
        say(LogLevel.warn, "request refused", status="500", err="cannot be read")
        reports = HandshakeReports()
        reports.failed("a.test", "", SSL.Error([("SSL", "", "tlsv1 alert unknown ca")]))
        reports.left("b.test", "", None)
        reports.failed("c.test", "", SSL.Error([("SSL", "", "wrong version number")]))
    finally:
        globalLogPublisher.removeObserver(log)
    return stream.getvalue(), tally


@pytest.mark.parametrize("form", ["text", "json"])
class TestLines:
    def test_warnings_alone(self, form: str) -> None:
        text, tally = logged(form, all_of_it=False)
        assert len(text.splitlines()) == 6
        for words in ("/level=INFO", "/failed", "request refused"):
            assert words in text
        assert tally.refusals == {("500", "cannot be read"): 1}

    def test_hosts_without_tls_are_noted(self, form: str) -> None:
        _, tally = logged(form, all_of_it=False)
        assert list(tally.no_tls) == ["a.test", "b.test", "c.test"]
        assert tally.no_tls["b.test"].startswith(
            "client left the TLS handshake: it may not trust buffr's CA; trust the CA"
        )
        assert tally.no_tls["c.test"] == "TLS in a tunnel failed: TLS: wrong version number"

    def test_all_of_it(self, form: str) -> None:
        text, _ = logged(form, all_of_it=True)
        assert len(text.splitlines()) == 9
        assert text.count("GET /") == 4
