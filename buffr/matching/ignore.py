"""Ignore rules: patterns whose matches make no difference."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

import re2
from attrs import Factory, field, frozen

from buffr.matching.pieces import Pause, Text
from buffr.matching.rules import IgnoreRule

__all__ = ["HEADER", "Ignore", "Pattern"]

HEADER = "request.header."
"""Prefix of a rule's part for a header field; the field's name follows."""

_PARTS = frozenset(("request.body", "request.path", "request.query", "websocket.frame"))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class _Match(Protocol):
    def group(self) -> bytes: ...

    def span(self) -> tuple[int, int]: ...


class _Compiled(Protocol):
    def sub(self, replacement: Callable[[_Match], bytes], text: bytes) -> bytes: ...

    def finditer(self, text: Text) -> Iterator[_Match]: ...


def _compile(pattern: Pattern) -> _Compiled:
    options = re2.Options()
    options.log_errors = False
    compiled: _Compiled = re2.compile(pattern.rule.pattern.encode(), options)
    return compiled


@frozen(eq=False)
class Pattern:
    """A rule with its compiled pattern. RE2 is linear in the text, whatever the pattern."""

    rule: IgnoreRule
    _compiled: _Compiled = field(init=False, default=Factory(_compile, takes_self=True))

    def replaced(self, text: bytes) -> bytes:
        literal = self.rule.replace_with.encode()
        return self._compiled.sub(lambda _: literal, text)

    def replaced_in(self, text: Text, pause: Pause) -> Text:
        """The same for a long text: RE2 releases the interpreter's lock."""
        literal = self.rule.replace_with.encode()
        out, at = bytearray(), 0
        for match in self._compiled.finditer(text):
            start, end = match.span()
            out += memoryview(text)[at:start]
            out += literal
            at = end
            pause()
        out += memoryview(text)[at:]
        return out

    def matches(self, text: bytes, most: int) -> tuple[bytes, ...]:
        """The first matches, in order, without empty ones."""
        found = (match.group() for match in self._compiled.finditer(text))
        return tuple(islice(filter(None, found), most))


def _by_part(patterns: tuple[Pattern, ...]) -> dict[str, tuple[Pattern, ...]]:
    parts: dict[str, list[Pattern]] = defaultdict(list)
    for pattern in patterns:
        parts[_normal(pattern.rule.part)].append(pattern)
    return {part: tuple(found) for part, found in parts.items()}


def _normal(part: str) -> str:
    return part.lower() if part.startswith(HEADER) else part


def _known(part: str) -> bool:
    name = part.removeprefix(HEADER)
    return part in _PARTS or (part != name and _TOKEN.fullmatch(name) is not None)


@frozen(eq=False)
class Ignore:
    """All valid rules, in their order, by the part to which they apply."""

    patterns: tuple[Pattern, ...] = ()
    _parts: dict[str, tuple[Pattern, ...]] = field(
        init=False, default=Factory(lambda self: _by_part(self.patterns), takes_self=True)
    )

    @classmethod
    def of(cls, rules: tuple[IgnoreRule, ...]) -> tuple[Ignore, tuple[str, ...]]:
        """The valid rules, and a warning for each invalid one."""
        patterns: list[Pattern] = []
        warnings: list[str] = []
        for place, rule in enumerate(rules):
            if not _known(rule.part):
                warnings.append(f"match.ignore[{place}]: unknown part {rule.part!r}; skipped")
                continue
            try:
                patterns.append(Pattern(rule))
            except re2.error as error:
                reason = _reason(error)
                warnings.append(f"match.ignore[{place}]: {rule.pattern!r}: {reason}; skipped")
        return cls(tuple(patterns)), tuple(warnings)

    def of_part(self, part: str) -> tuple[Pattern, ...]:
        return self._parts.get(part, ())

    def concerns(self, part: str) -> bool:
        return part in self._parts

    def replaced(self, part: str, text: bytes) -> bytes:
        """The text of a part, such as ``request.body``, with all matches replaced, rule by rule."""
        for pattern in self._parts.get(part, ()):
            text = pattern.replaced(text)
        return text

    def replaced_in(self, part: str, text: Text, pause: Pause) -> Text:
        """The same for a long text."""
        for pattern in self.of_part(part):
            text = pattern.replaced_in(text, pause)
        return text

    def in_header(self, name: bytes, value: bytes) -> bytes:
        """The same for the header field with this lower-case name."""
        return self.replaced(HEADER + name.decode("latin-1"), value)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
