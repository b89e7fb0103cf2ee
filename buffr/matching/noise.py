"""Values that are new for each request and mean nothing: identifiers, times, counters, hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from attrs import field, frozen

__all__ = ["Noise", "noise_between", "whole_noise"]


@frozen
class Noise:
    """A kind of noise: a pattern that RE2 and Python read alike, and its replacement."""

    kind: str
    pattern: str
    stand_in: str
    _compiled: re.Pattern[str] = field(init=False, eq=False, repr=False)

    @_compiled.default
    def _compile(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def replaced(self, text: str) -> str:
        return self._compiled.sub(self.stand_in, text)

    def is_in(self, text: str) -> bool:
        return self._compiled.search(text) is not None

    def all_in(self, text: str) -> list[str]:
        return self._compiled.findall(text)

    def is_all_of(self, text: str) -> bool:
        return self._compiled.fullmatch(text) is not None


_HEX = "[0-9a-fA-F]"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
_ZONE = "(?:Z|[+-][0-9]{2}:?[0-9]{2})?"

# From special to general: a UUID begins like a hash.
_KINDS = (
    Noise("uuid", f"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}", "<uuid>"),
    Noise("time", f"{_DATE}(?:(?:[Tt+ ]|%20){_CLOCK}{_ZONE})?", "<time>"),
    Noise("time", f"[A-Z][a-z]{{2}}, [0-9]{{2}} [A-Z][a-z]{{2}} [0-9]{{4}} {_CLOCK} GMT", "<time>"),
    Noise("time", "[0-9]{8}T[0-9]{6}Z?", "<time>"),
    Noise("time", _CLOCK, "<time>"),
    # Seconds since 1970, or milliseconds and so on: from 2001 to 2033.
    Noise("time", r"\b1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]+)?\b", "<time>"),
    Noise("hash", r"\b(?:[0-9a-f]{16,128}|[0-9A-F]{16,128})\b", "<hash>"),
)
_ID = Noise("id", r"\b(?:[A-Za-z]{1,12}[_-])?[0-9A-Za-z]{16,64}\b", "<id>")

_COUNTER = re.compile("([A-Za-z]{2,20}[-_#:])([0-9]+)")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_NAME_OF_NOISE = re.compile(
    r"(?:^|[_\-.])(?:uuid|guid|nonce|seq|sequence|counter|attempt|seed|salt|ts|time|timestamp|date"
    r"|at|rand|random|cachebuster|(?:run|req|request|trace|span|correlation|message|msg)_?id)$|^_$"
)
_CAMEL = re.compile("(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_TEXT = 16 * 1024
_LONGEST_KNOWN = 200


def _is_random(text: str) -> bool:
    """Whether letters and digits alternate as in no word and no plain number."""
    return len(re.findall(r"[0-9]+", text)) >= 2 and re.search("[A-Za-z]", text) is not None


def whole_noise(text: str, name: str = "") -> str | None:
    """The kind of noise that a whole value is; ``name`` is its field's name.

    A plain number is noise only if the name says so, as ``seq`` does.
    """
    read = _whole_noise if len(text) + len(name) <= _LONGEST_KNOWN else _whole_noise.__wrapped__
    return read(text, name)


@lru_cache(maxsize=1024)
def _whole_noise(text: str, name: str) -> str | None:
    for noise in _KINDS:
        if noise.is_all_of(text):
            return noise.kind
    if _ID.is_all_of(text) and _is_random(text):
        return _ID.kind
    if _NUMBER.fullmatch(text) and _NAME_OF_NOISE.search(_CAMEL.sub("_", name).lower()):
        return "counter"
    return None if _COUNTER.fullmatch(text) is None else "counter"


def noise_between(old: str, new: str) -> tuple[Noise, ...]:
    """The kinds of noise that explain the whole difference between two texts, in order.

    Empty if there is more to it, or if the texts are long.
    """
    if max(len(old), len(new)) > _LONGEST_TEXT:
        return ()
    before, after = _found_in(old), _found_in(new)
    kinds = [*_kinds(before, after), *_counters(before, after), *_ids(before, after)]
    if not _alike_without(kinds, old, new):
        return ()
    for noise in tuple(kinds):
        fewer = [kind for kind in kinds if kind is not noise]
        if _alike_without(fewer, old, new):
            kinds = fewer
    return tuple(kinds)


def _alike_without(kinds: Iterable[Noise], old: str, new: str) -> bool:
    for noise in kinds:
        old, new = noise.replaced(old), noise.replaced(new)
    return old == new


class _Found(NamedTuple):
    """What looks like noise in a text: whether any of ``_KINDS`` does, counters and identifiers."""

    noisy: bool
    counters: tuple[tuple[str, str], ...]
    ids: tuple[str, ...]


def _found_in(text: str) -> _Found:
    find = _found_in_short if len(text) <= _LONGEST_KNOWN else _found_in_short.__wrapped__
    return find(text)


@lru_cache(maxsize=1024)
def _found_in_short(text: str) -> _Found:
    return _Found(
        any(noise.is_in(text) for noise in _KINDS),
        tuple(_COUNTER.findall(text)),
        tuple(_ID.all_in(text)),
    )


def _kinds(before: _Found, after: _Found) -> Sequence[Noise]:
    return _KINDS if before.noisy or after.noisy else ()


def _counters(before: _Found, after: _Found) -> list[Noise]:
    """Numbers after the same word and sign in both texts, such as ``run-0001``."""
    old, new = dict(before.counters), dict(after.counters)
    words = [word for word in old if word in new and old[word] != new[word]]
    return [Noise("counter", re.escape(word) + "[0-9]+", word + "<n>") for word in words]


def _ids(before: _Found, after: _Found) -> list[Noise]:
    texts = before.ids + after.ids
    return [_ID] if texts and all(map(_is_random, texts)) else []
