"""A quick check of a text: which of many patterns may match in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import re2

__all__ = ["Screen", "boundless", "compiled"]

_UP_TO = re.compile(r"\{0,[0-9]+\}")
_ONE_UP_TO = re.compile(r"\{1,[0-9]+\}")


def _latin1() -> re2.Options:
    """RE2's options for patterns of bytes."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return options


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """An RE2 pattern for bytes. RE2 is linear in the text, whatever the pattern."""
    return re2.compile(pattern.encode(), _latin1())


def boundless(pattern: str) -> str:
    """A more general pattern: bounded repetitions become unbounded.

    An automaton has a state for each count it could be at, and in prose it
    counts at several positions at once: too many states to keep.
    """
    return _ONE_UP_TO.sub("+", _UP_TO.sub("*", pattern))


class Screen:
    """Several RE2 patterns as one automaton, which reads a text once, about 2 ns a byte.

    It takes up to three times as long if a text leads it through more states
    than fit into a processor's nearest cache. Then two screens of patterns
    that differ much take no longer than one of all.
    """

    def __init__(self, patterns: Sequence[str], *, probe: bytes) -> None:
        """``probe`` is a text that one of the patterns matches.

        An automaton that is out of memory matches nothing.
        """
        self._every = range(len(patterns))
        self._matching = _automaton(patterns, probe)

    def shown(self, text: bytes) -> Sequence[int]:
        """The numbers of the patterns that may match, in order.

        All of them if the automaton is too large to know.
        """
        if self._matching is None:
            return self._every
        return sorted(self._matching(text) or ())


def _automaton(
    patterns: Sequence[str], probe: bytes
) -> Callable[[bytes], Sequence[int] | None] | None:
    try:
        patterns_set = re2.Set.SearchSet(_latin1())
        for pattern in patterns:
            patterns_set.Add(pattern.encode())
        patterns_set.Compile()
    except re2.error:
        return None
    matching: Callable[[bytes], Sequence[int] | None] = patterns_set.Match
    return matching if matching(probe) else None
