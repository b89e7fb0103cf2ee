"""Matches of ignore rules make no difference; an invalid rule does not affect the others."""

from __future__ import annotations

import pytest

from buffr.matching.ignore import Ignore
from buffr.matching.rules import IgnoreRule


def rule(part: str, pattern: str, replace_with: str = "", *, sync: bool = False) -> IgnoreRule:
    return IgnoreRule(part=part, pattern=pattern, replace_with=replace_with, sync_response=sync)


class TestIgnore:
    def test_replaces_literally(self) -> None:
        """Every match is replaced, and the replacement is not a template."""
        ignore, _ = Ignore.of((rule("request.body", "run-([0-9]{4})", r"<\1$1\g<0>>"),))
        text = ignore.replaced("request.body", b"run-0001, run-0002, run-x \xff\x00")
        assert text == rb"<\1$1\g<0>>, <\1$1\g<0>>, run-x " + b"\xff\x00"

    def test_only_its_part(self) -> None:
        """A rule leaves all other parts alone; header names have no case."""
        ignore, _ = Ignore.of((rule("request.header.X-Id", "[0-9]+"), rule("request.path", "a")))
        assert ignore.replaced("request.body", b"a1") == b"a1"
        assert ignore.in_header(b"x-id", b"a1") == b"a"
        assert ignore.concerns("request.path")
        assert not ignore.concerns("request.query")

    def test_in_order(self) -> None:
        """A rule sees the result of the rules before it."""
        ignore, _ = Ignore.of((rule("request.path", "a", "b"), rule("request.path", "b+", "c")))
        assert ignore.replaced("request.path", b"aab") == b"c"

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (rule("request.body", "("), "missing )"),
            (rule("request.body", "a(?=b)"), "(?="),
            (rule("response.body", "a"), "response.body"),
            (rule("request.header.", "a"), "request.header."),
        ],
    )
    def test_invalid(self, bad: IgnoreRule, reason: str) -> None:
        """An invalid rule is reported with the reason and skipped; the others apply."""
        ignore, warnings = Ignore.of((rule("request.path", "a"), bad))
        assert ignore.replaced("request.path", b"a") == b""
        assert len(warnings) == 1
        assert warnings[0].startswith("match.ignore[1]: ")
        assert reason in warnings[0]

    def test_matches(self) -> None:
        """A rule captures its matches, in order, except empty ones."""
        ignore, _ = Ignore.of((rule("request.body", "x*"), rule("request.body", "[0-9]")))
        found = [pattern.matches(b"run-123 x", 2) for pattern in ignore.patterns]
        assert found == [(b"x",), (b"1", b"2")]
