"""A quick check of a text: whether any of the patterns may match in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property

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
    """A more general pattern: bounded repetitions become unbounded.

    An automaton has a state for each count it could be at, and in prose it
    counts at several positions at once: too many states to keep.
    """
    return _ONE_UP_TO.sub("+", _UP_TO.sub("*", pattern))


_LONG_BYTES = 16 * 1024
_SAMPLE_BYTES = 512
_NO_LETTERS = bytes(byte for byte in range(256) if not chr(byte).isalpha() or byte > 127)


class Screen:
    """Several RE2 patterns as one automaton, which reads a text once, about 1.5 ns a byte.

    Long prose leads an automaton of many patterns through so many states that
    they fit into no cache, and it takes 6 to 16 ns a byte. So patterns come in
    ``groups``, and a long text of letters is read once for each.
    """

    def __init__(self, *groups: Iterable[str], probe: bytes) -> None:
        """``probe`` is a text that a pattern of the last group matches.

        An automaton that is out of memory matches nothing.
        """
        self._groups = [tuple(group) for group in groups]
        self._probe = probe
        self._whole = _automaton([each for group in self._groups for each in group], probe)

    @cached_property
    def _parts(self) -> list[Callable[[bytes], object]]:
        probe = re2.escape(self._probe.decode())
        return [_automaton((*group, probe), self._probe) for group in self._groups]

    def shows(self, text: bytes) -> bool:
        """Whether a pattern may match somewhere; true if the automaton is too large to know."""
        if len(text) > _LONG_BYTES and len(self._groups) > 1 and _is_prose(text[:_SAMPLE_BYTES]):
            return any(matching(text) is not None for matching in self._parts)
        return self._whole(text) is not None


def _is_prose(sample: bytes) -> bool:
    return 2 * len(sample.translate(None, _NO_LETTERS)) > len(sample)


def _automaton(patterns: Iterable[str], probe: bytes) -> Callable[[bytes], object]:
    try:
        patterns_set = re2.Set.SearchSet(latin1())
        patterns_set.Add("|".join(f"(?:{pattern})" for pattern in patterns).encode())
        patterns_set.Compile()
    except re2.error:
        return _anything
    matching: Callable[[bytes], object] = patterns_set.Match
    return matching if matching(probe) else _anything


def _anything(_text: bytes) -> object:
    return True
