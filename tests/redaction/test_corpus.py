"""Hardly any planted secret is kept, and hardly any ordinary value is touched.

``corpus/README.md`` says where the two corpora come from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from missed import in_log, on_disk, with_missed
from ordinary import Ordinary, ordinary
from planted import Planted, planted, told

from buffr.interaction import RecordedRequest
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import near_misses
from buffr.matching.rules import MatchRules
from buffr.message import Request
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.redaction.vocabulary_docs import with_tables
from buffr.stores.cassette.format import encode

RULES = RedactionRules()
SALT = b"salt of a cassette"
REDACTOR = Redactor(RULES, SALT)

PLANTED = planted()
OTHERS = {other.number: other for other in planted("other")}
MOST_MISSED = 0.03
MOST_TOUCHED = 0.005


def matcher() -> Matcher:
    return Matcher(MatchRules(), with_origin=False, salt=lambda: SALT)


def live_keys(request: RecordedRequest) -> tuple[MatchKey, ...]:
    head = Request(request.method, request.target, request.headers)
    return matcher().live(head, request.body.data).keys


def misses(one: Planted, other: Planted) -> Iterator[str]:
    """What a miss of the first request reveals next to the recording of the second."""
    recorded = matcher().recorded(REDACTOR.interaction(other.exchange).request)
    for miss in near_misses(live_keys(one.exchange.request), [(0, recorded)], RULES):
        yield from map(str, miss.differences)


class TestDocumentation:
    def test_is_of_today(self) -> None:
        """``make docs-reference`` writes it."""
        page = (Path(__file__).parents[2] / "docs/explanation/redaction.md").read_text("utf-8")
        assert with_tables(page) == page
        assert with_missed(page) == page


class TestPlanted:
    def test_corpus(self) -> None:
        """It contains what it claims: every value is in its exchange."""
        assert len(PLANTED) >= 300
        assert all(any(map(one.leaks, told(one.exchange))) for one in PLANTED)

    def test_hidden(self, capsys: pytest.CaptureFixture[str]) -> None:
        """At most 3 % reach the disk, the log or a miss."""
        disk = [one for one in PLANTED if on_disk(one)]
        log = [one for one in PLANTED if in_log(one)]
        in_miss = [
            p
            for p in PLANTED
            if any(p.leaks(text.encode()) for text in misses(p, OTHERS[p.number]))
            or any(OTHERS[p.number].leaks(text.encode()) for text in misses(p, OTHERS[p.number]))
        ]
        missed = {str(each): each for each in (*disk, *log, *in_miss)}
        with capsys.disabled():
            sys.stdout.write(
                f"\n{len(PLANTED)} planted secrets: {len(disk)} on the disk,"
                f" {len(log)} in the log, {len(in_miss)} in a miss\n"
            )
        assert len(missed) <= MOST_MISSED * len(PLANTED), list(missed)

    def test_keys(self) -> None:
        """A request and its recording have one key; redacted twice it is the same."""
        for one in PLANTED:
            exchange = one.exchange
            stored = REDACTOR.interaction(exchange)
            recorded = matcher().recorded(stored.request)
            assert recorded.digest in [key.digest for key in live_keys(exchange.request)], str(one)
            assert matcher().recorded(exchange.request).digest == recorded.digest, str(one)
            again = REDACTOR.interaction(stored)
            assert encode(again) == encode(stored), str(one)


def is_touched(one: Ordinary) -> bool:
    exchange = one.exchange
    return encode(REDACTOR.interaction(exchange)) != encode(exchange)


class TestDistinct:
    """What newer rules hide still distinguishes two requests."""

    def test_two_values(self) -> None:
        hidden = 0
        for one in PLANTED:
            if min(map(len, one.secrets)) < 20:
                continue
            stored = REDACTOR.interaction(one.exchange).request
            told = b"\n".join([stored.target, stored.body.data])
            if b"REDACTED_" in told or b"4edac7ed-0001" in told:
                other = live_keys(OTHERS[one.number].exchange.request)
                assert not set(live_keys(one.exchange.request)) & set(other), str(one)
                hidden += 1
        assert hidden > 100


class TestOrdinary:
    def test_kept(self, capsys: pytest.CaptureFixture[str]) -> None:
        """At most 0.5 % are touched, and none of those that are never redacted."""
        values = ordinary()
        touched = [one for one in values if is_touched(one)]
        with capsys.disabled():
            sys.stdout.write(f"\n{len(values)} ordinary values: {len(touched)} touched\n")
        assert len(values) == 3000
        assert not [one for one in touched if one.never]
        assert len(touched) <= MOST_TOUCHED * len(values), touched
