"""Why a request matched no recording: how near some came, what differs, and what would help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from hashlib import sha256
from typing import AnyStr

from attrs import frozen
from msgspec.json import Encoder

from buffr.matching.canonical_json import as_written
from buffr.matching.changes import Absent, Change, Place, changes
from buffr.matching.key import MatchKey
from buffr.matching.messages import document_in
from buffr.matching.suggestion import Suggestion, suggested
from buffr.matching.variants import VariantDifference
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.rules import RedactionRules

__all__ = ["Difference", "NearMiss", "differences", "near_misses", "shown", "variant_miss"]

MOST = 3
MOST_DIFFERENCES = 20

_WORTH = {"path": 8, "body": 6, "method": 3, "host": 3, "query": 3, "scheme": 1, "port": 1}
_WORTH_OF_HEADERS = 1

_LONGEST_SHOWN = 120
_BEFORE_CHANGE = 24

_MOST_KNOWN = 1024
"""So many changes are remembered as they are shown: some megabytes at most."""


@frozen
class Difference:
    """One difference, fit to be shown: short, and without credentials.

    ``pointer`` is a JSON pointer (RFC 6901) into a JSON body, or a slash and
    the name of a field; empty for the whole part. ``None`` means absent.
    """

    part: str
    pointer: str
    recorded: str | None
    live: str | None

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """A line for people."""
        recorded, live = (
            "nothing" if value is None else repr(value) for value in (self.recorded, self.live)
        )
        return f"{self.where}: recorded {recorded}, live {live}"

    @property
    def where(self) -> str:
        return f"{self.part} {self.pointer}".strip()

    @cached_property
    def data(self) -> Mapping[str, str | None]:
        """The same for programs; the same object each time, which nobody may change."""
        return {
            "part": self.part,
            "pointer": self.pointer,
            "recorded": self.recorded,
            "live": self.live,
        }

    @cached_property
    def json(self) -> str:
        """``data`` as ``json.dumps`` writes it."""
        return json.dumps(self.data)


@frozen
class NearMiss:
    """A recording that nearly matches. ``score`` is 1 for a hit, 0 for nothing in common.

    The first ``MOST_DIFFERENCES`` are given. ``rule`` leaves out the noise
    among all of them. ``broken`` says why it is never replayed although the
    request matches. A ``variant`` has the request's key, and differs in fields
    that select among recordings.
    """

    place: int
    score: float
    differences: tuple[Difference, ...]
    rule: Suggestion | None
    broken: str = ""
    variant: bool = False


def variant_miss(place: int, found: Iterable[VariantDifference]) -> NearMiss:
    """The near miss for a recording of the same request that answers another variant."""
    changed = [
        Difference(f"header {each.name}", "", _header_text(each.recorded), _header_text(each.live))
        for each in found
    ]
    return NearMiss(place, 1.0, tuple(changed[:MOST_DIFFERENCES]), None, variant=True)


def _header_text(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value.decode("latin-1")
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def near_misses(
    live: Sequence[MatchKey], recorded: Iterable[tuple[int, MatchKey]], redaction: RedactionRules
) -> tuple[NearMiss, ...]:
    """The nearest three of some recordings, given by their places and keys.

    Those with the request's path come first, then those with the best score.
    ``live`` are the keys of the request's readings, of which the nearest
    counts.
    """
    exact = live[0]
    path = dict(exact.parts).get("path")
    # Lenient keys of the same readings lack parts of the origin.
    readings = [key for key in live if len(key.parts) == len(exact.parts)]
    scored = []
    for place, key in recorded:
        score, _, reading = max((_score(one, key), -at, one) for at, one in enumerate(readings))
        scored.append((dict(key.parts).get("path") == path, score, place, key, reading))
    scored.sort(key=lambda each: each[:3], reverse=True)
    found = []
    for _, score, place, key, reading in scored[:MOST]:
        changed = changes(reading, key)
        differing = _all_shown(changed, redaction)
        found.append(NearMiss(place, round(score, 3), differing, suggested(changed)))
    return tuple(found)


def differences(
    live: MatchKey, recorded: MatchKey, redaction: RedactionRules
) -> tuple[Difference, ...]:
    """The first ``MOST_DIFFERENCES`` places in which two keys differ."""
    return _all_shown(changes(live, recorded), redaction)


def _all_shown(changed: tuple[Change, ...], redaction: RedactionRules) -> tuple[Difference, ...]:
    before = _shown_before(redaction)
    return tuple([before.shown(change) for change in changed[:MOST_DIFFERENCES]])


class _ShownBefore:
    """Changes as they are shown by some rules: requests that miss often differ alike.

    Also used by threads: an entry may be made twice, or be lost.
    """

    def __init__(self, redaction: RedactionRules) -> None:
        self._redaction = redaction
        self._known: dict[tuple[object, ...] | None, Difference] = {}
        self._value = lru_cache(maxsize=_MOST_KNOWN)(self._short_value)

    def value(self, name: str, value: object) -> str | None:
        """A value as it is shown under a name."""
        if type(value) is str and len(value) <= _LONGEST_SHOWN:
            return self._value(name, value)
        return _without_secrets(name, value, self._redaction)

    def _short_value(self, name: str, value: str) -> str | None:
        return _without_secrets(name, value, self._redaction)

    def shown(self, change: Change) -> Difference:
        known = self._known.get(change.name)
        if known is None:
            known = _shown(change, self.value)
            if change.name is not None:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[change.name] = known
        return known


_shown_before = lru_cache(maxsize=8)(_ShownBefore)


def _score(live: MatchKey, recorded: MatchKey) -> float:
    ours, theirs = dict(live.parts), dict(recorded.parts)
    total = reached = 0.0
    for part in {**ours, **theirs}:
        old, new = theirs.get(part), ours.get(part)
        if part in ("scheme", "host", "port") and None in (old, new):
            continue
        worth = _WORTH.get(part, _WORTH_OF_HEADERS)
        total += worth
        if old is not None and new is not None:
            reached += worth if old == new else worth * _likeness(old, new) * 0.9
    return reached / total if total else 0.0


def _likeness(old: bytes, new: bytes) -> float:
    """The share of the longer text in the common beginning and end of both, from 0 to 1."""
    longer, shorter = max(len(old), len(new)), min(len(old), len(new))
    start = _common(old, new, shorter)
    end = _common(old[::-1], new[::-1], shorter - start)
    return (start + end) / longer if longer else 1.0


def _common(old: AnyStr, new: AnyStr, most: int) -> int:
    """The length of the common beginning, by bisection: one by one would be slow."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _pointer(place: Place) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def shown(change: Change, redaction: RedactionRules) -> Difference:
    """A change, fit to be shown: its values cut short, and without credentials."""
    return _shown(change, partial(_without_secrets, redaction=redaction))


def _without_secrets(name: str, value: object, redaction: RedactionRules) -> str | None:
    is_credential = _is_credential(name, value, redaction)
    return "REDACTED" if is_credential else _text(value, redaction)


def _shown(change: Change, shown_value: Callable[[str, object], str | None]) -> Difference:
    name = next((part for part in reversed(change.place) if isinstance(part, str)), "")
    old, new = shown_value(name, change.recorded), shown_value(name, change.live)
    start = 0
    if old is not None and new is not None:
        start = _common(old, new, min(len(old), len(new)))
    pointer = _pointer(change.place)
    return Difference(change.part, pointer, _excerpt(old, start), _excerpt(new, start))


def _is_credential(name: str, value: object, redaction: RedactionRules) -> bool:
    if isinstance(value, Absent):
        return False
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    if redaction.holds_credential(name.encode(), text):
        return True
    # The stand-in for a value that counts only shows which value differs.
    return STAND_IN not in text and redaction.hides(name.encode(), text)


_encode = Encoder(enc_hook=as_written).encode


def _text(value: object, redaction: RedactionRules) -> str | None:
    if isinstance(value, Absent):
        return None
    if not isinstance(value, bytes):
        return _encode(_without_credentials(value, redaction)).decode("utf-8")
    # If the body could not be parsed field by field, any field may contain a credential.
    if not document_in(value).startswith((b"{", b"[")):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return f"{len(value)} bytes, sha256 {sha256(value).hexdigest()[:16]}"


def _without_credentials(value: object, redaction: RedactionRules) -> object:
    if isinstance(value, dict):
        return {
            name: "REDACTED"
            if _is_credential(name, inner, redaction)
            else _without_credentials(inner, redaction)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_credentials(inner, redaction) for inner in value]
    return value


def _excerpt(text: str | None, change_at: int) -> str | None:
    """Up to ``_LONGEST_SHOWN`` characters, around the first that differs."""
    if text is None or len(text) <= _LONGEST_SHOWN:
        return text
    start = max(0, change_at - _BEFORE_CHANGE)
    shown = text[start : start + _LONGEST_SHOWN]
    return ("…" if start else "") + shown + ("…" if start + len(shown) < len(text) else "")
