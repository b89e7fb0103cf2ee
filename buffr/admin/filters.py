"""The language of filters: words and ``field:value``, all of which must hold."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from buffr.admin.answers import bad_request

__all__ = ["Filter", "filter_of"]

Summary = Mapping[str, Any]
Test = Callable[[Summary], bool]

_TEXTS = {
    "src": "source",
    "source": "source",
    "method": "method",
    "host": "host",
    "path": "path",
    "url": "url",
    "route": "route",
    "scope": "scope",
    "model": "model",
    "op": "operation",
    "kind": "kind",
    "level": "level",
    "trace": "traceparent",
}
_EXACT = frozenset(("source", "method", "kind", "level"))
_DEEP = frozenset(("body", "header"))
"""Fields for which an exchange must be read."""
_FIELDS = (*_TEXTS, "status", "dur", "size", *sorted(_DEEP))
_COMPARED = re.compile(r"(>=|<=|>|<|=)?([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)")
_HUNDREDS = re.compile(r"([1-9])xx", re.IGNORECASE)
_TIMES_MS = {"": 1.0, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_SIZES = {"": 1.0, "b": 1.0, "k": 1024.0, "kb": 1024.0, "m": 1048576.0, "mb": 1048576.0}
_MOST_TERMS = 30


@frozen
class Filter:
    """Tests summaries. ``deep`` are texts that must be found in a header or in a body.

    Each is the name of the field, the text in lower case, and whether it must
    be there or must not.
    """

    tests: tuple[Test, ...] = ()
    deep: tuple[tuple[str, str, bool], ...] = ()

    def passes(self, summary: Summary) -> bool:
        """Whether a summary passes all tests but the deep ones."""
        return all(test(summary) for test in self.tests)

    def passes_deep(self, headers: str, bodies: str) -> bool:
        """Whether these texts, in lower case, pass the deep tests."""
        return all(
            (text in (bodies if field == "body" else headers)) is wanted
            for field, text, wanted in self.deep
        )


def filter_of(text: str) -> Filter:
    """The filter that a text means. Raises ``Failed`` if it means none."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    if len(words) > _MOST_TERMS:
        raise bad_request(f"q: has more than {_MOST_TERMS} terms")
    tests: list[Test] = []
    deep: list[tuple[str, str, bool]] = []
    for word in words:
        wanted = not (word.startswith("-") and len(word) > 1)
        term = word if wanted else word[1:]
        name, colon, value = term.partition(":")
        if colon and name.lower() in _DEEP:
            deep.append((name.lower(), value.lower(), wanted))
            continue
        test = _test(name.lower(), value, term) if colon else _word(term)
        tests.append(test if wanted else _not(test))
    return Filter(tuple(tests), tuple(deep))


def _not(test: Test) -> Test:
    return lambda summary: not test(summary)


def _word(word: str) -> Test:
    """A word is looked for where people read: the label, the URL and the question."""
    text = word.lower()

    def test(summary: Summary) -> bool:
        return (
            text in summary["label"].lower()
            or text in summary["url"].lower()
            or text in (summary["about"] or "").lower()
        )

    return test


def _test(name: str, value: str, term: str) -> Test:
    if name in _TEXTS:
        return _text(_TEXTS[name], value)
    match name:
        case "status":
            return _status(value)
        case "dur":
            return _compared("dur", "duration_ms", value, _TIMES_MS)
        case "size":
            return _compared("size", "response_bytes", value, _SIZES)
    if re.fullmatch(r"[a-z]{2,12}", name) and not value.startswith("//"):
        known = ", ".join(_FIELDS)
        raise bad_request(f"q: unknown field {name!r}", f"known are: {known}")
    return _word(term)


def _text(field: str, value: str) -> Test:
    text = value.lower()
    if field in _EXACT:
        return lambda summary: str(summary[field]).lower() == text
    return lambda summary: text in str(summary[field] or "").lower()


def _status(value: str) -> Test:
    hundreds = _HUNDREDS.fullmatch(value)
    if hundreds is not None:
        first = int(hundreds[1])
        return lambda summary: summary["status"] // 100 == first
    return _compared("status", "status", value, {"": 1.0})


def _compared(name: str, field: str, value: str, units: Mapping[str, float]) -> Test:
    found = _COMPARED.fullmatch(value)
    if found is None or found[3].lower() not in units:
        raise bad_request(f"q: {name}:{value} is not a number", f"write {name}:>1, {name}:<=2")
    sign, bound = found[1] or "=", float(found[2]) * units[found[3].lower()]

    def test(summary: Summary) -> bool:
        number = summary[field]
        if number is None:
            return False
        match sign:
            case ">":
                return bool(number > bound)
            case ">=":
                return bool(number >= bound)
            case "<":
                return bool(number < bound)
            case "<=":
                return bool(number <= bound)
        return bool(number == bound)

    return test
