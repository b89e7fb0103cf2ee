"""One quick look at a text: whether there may be anything in it that is searched for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import re2

__all__ = ["Screen", "boundless", "latin1"]

_UP_TO = re.compile(r"\{0,[0-9]+\}")
_ONE_UP_TO = re.compile(r"\{1,[0-9]+\}")


def latin1() -> re2.Options:
    """RE2's options for patterns of bytes."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return options


def boundless(pattern: str) -> str:
    """A pattern that matches more: what may stand there so many times may stand there any times.

    An automaton has a state for each count it could be at, and prose has it
    count in several places at once: of these states there are too many to keep.
    """
    return _ONE_UP_TO.sub("+", _UP_TO.sub("*", pattern))


class Screen:
    """RE2's patterns as one automaton, which reads a text once, about 1.5 ns a byte."""

    def __init__(self, patterns: Iterable[str], *, probe: bytes) -> None:
        """``probe`` is a text that they match: without room, an automaton matches nothing."""
        self._matching: Callable[[bytes], object] = _anything
        try:
            patterns_set = re2.Set.SearchSet(latin1())
            patterns_set.Add("|".join(f"(?:{pattern})" for pattern in patterns).encode())
            patterns_set.Compile()
        except re2.error:
            return
        if patterns_set.Match(probe):
            self._matching = patterns_set.Match

    def shows(self, text: bytes) -> bool:
        """Whether one of them may match somewhere; true if that would be too large to tell."""
        return self._matching(text) is not None


def _anything(_text: bytes) -> object:
    return True
