"""What a rule for matching would do to what is recorded, and to the misses so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from attrs import define, field, frozen

from buffr.interaction import IndexEntry
from buffr.matching.matcher import Matcher
from buffr.matching.variants import Identity
from buffr.stores.base import Store
from buffr.transport.eager import aside

__all__ = ["Trial", "diff_of", "tried"]

_STEP = 32
_MOST_GROUPS = 20
_MOST_IN_GROUP = 50
_CONTEXT = 3


@frozen
class Trial:
    """The effect of a rule. ``groups`` are numbers of recordings that would become one.

    ``kept`` recordings keep a match of their own; ``merged`` would become one
    with another that they differ from now. ``digests`` are the new keys.
    """

    recordings: int
    kept: int
    merged: int
    groups: tuple[tuple[int, ...], ...]
    digests: frozenset[bytes]

    def answers(self, identity: Identity) -> bool:
        """Whether a recording would answer a request."""
        return any(key.digest in self.digests for key in identity.keys)


@define(eq=False)
class _Groups:
    """Recordings by their new keys; for each the old keys that fall together in it."""

    old: dict[bytes, set[bytes]] = field(factory=dict)
    numbers: dict[bytes, list[int]] = field(factory=dict)

    def add(self, number: int, old: bytes, new: bytes) -> None:
        self.old.setdefault(new, set()).add(old)
        self.numbers.setdefault(new, []).append(number)


async def tried(reactor: Any, store: Store, places: range, old: Matcher, new: Matcher) -> Trial:
    """Try a matcher on all recordings of a store, a few at a time."""
    groups, count = _Groups(), 0
    for start in range(places.start, places.stop, _STEP):
        some = range(start, min(start + _STEP, places.stop))
        found = await store.entries(some)
        entries = [
            (place - places.start, entry)
            for place, entry in zip(some, found, strict=True)
            if isinstance(entry, IndexEntry)
        ]
        count += len(entries)
        size_bytes = sum(entry.request.body.size_bytes + 500 for _, entry in entries)
        for number, before, after in await aside(reactor, size_bytes, _keys, entries, old, new):
            groups.add(number, before, after)
    together = {key for key, befores in groups.old.items() if len(befores) > 1}
    merged = sum(len(groups.numbers[key]) for key in together)
    listed = sorted((groups.numbers[key] for key in together), key=lambda one: one[0])
    return Trial(
        count,
        count - merged,
        merged,
        tuple(tuple(numbers[:_MOST_IN_GROUP]) for numbers in listed[:_MOST_GROUPS]),
        frozenset(groups.numbers),
    )


def _keys(
    entries: Iterable[tuple[int, IndexEntry]], old: Matcher, new: Matcher
) -> list[tuple[int, bytes, bytes]]:
    """The digests of recordings by two matchers. For any thread."""
    return [
        (number, old.recorded_key(entry).digest, new.recorded_key(entry).digest)
        for number, entry in entries
    ]


def diff_of(before: str, after: str) -> Sequence[dict[str, Any]]:
    """The lines that differ between two texts, and a few around them; as ``DiffLine``."""
    old, new = before.splitlines(), after.splitlines()
    shown: list[dict[str, Any]] = []
    groups = SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT)
    for group in groups:
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                shown += [_line(" ", at, new[at]) for at in range(new_start, new_end)]
                continue
            shown += [_line("-", at, old[at]) for at in range(old_start, old_end)]
            shown += [_line("+", at, new[at]) for at in range(new_start, new_end)]
    return shown


def _line(kind: str, at: int, text: str) -> dict[str, Any]:
    return {"kind": kind, "number": at + 1, "text": text}
