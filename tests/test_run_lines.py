"""Which lines of the log reach the terminal."""

from __future__ import annotations

import io

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from buffr.log import ExchangeLog, logger_writer, say
from buffr.run.lines import RunLog

Refused = list[tuple[str, str]]


def logged(form: str, *, all_of_it: bool) -> tuple[str, Refused]:
    """What is written of some events, and what was refused."""
    stream, refused = io.StringIO(), Refused()
    log = RunLog(stream, form, lambda *pair: refused.append(pair), all_of_it=all_of_it)
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
    finally:
        globalLogPublisher.removeObserver(log)
    return stream.getvalue(), refused


@pytest.mark.parametrize("form", ["text", "json"])
class TestLines:
    def test_warnings_alone(self, form: str) -> None:
        text, refused = logged(form, all_of_it=False)
        assert len(text.splitlines()) == 3
        for words in ("/level=INFO", "/failed", "request refused"):
            assert words in text
        assert refused == [("500", "cannot be read")]

    def test_all_of_it(self, form: str) -> None:
        text, _ = logged(form, all_of_it=True)
        assert len(text.splitlines()) == 6
        assert text.count("GET /") == 4
