"""Joins the variants of one key that fit a request.

An API may answer one request in turn with 503 as text, 202 without a body and
200 as JSON, or with another ``Vary``. Each is filed as another variant, and
yet all of them answer that request, in recorded order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from attrs import evolve

from buffr.exchanges.playhead import ROUND, Playhead, Repeat
from buffr.matching.variants import Selecting
from buffr.stores.base import Matches

__all__ = ["due", "filed", "fitting", "narrowed", "next_of", "of_one_request", "variants_of"]


def variants_of(found: Matches | None) -> list[Matches]:
    """What was found for a key, as a list of its variants."""
    return [] if found is None else [_joined((found,)), *found.others]


def fitting(selecting: Selecting, variants: Sequence[Matches]) -> Matches | None:
    """The recordings that answer a request with these selecting fields, in recorded order.

    If none was recorded for the same ``Accept``, they are those of the first
    client whose answers this one admits. Recordings without request headers
    answer only if no others do.
    """
    fit = [each for each in variants if not selecting.differences(each.variant)]
    fit = [each for each in fit if each.variant is not None] or fit
    alike = [each for each in fit if selecting.accepts_like(each.variant)]
    if not alike:
        alike = [each for each in fit if of_one_request((fit[0], each)) is not None]
    return _joined(alike) if alike else None


def of_one_request(variants: Sequence[Matches]) -> Matches | None:
    """All of the variants, if their recorded requests do not differ; else ``None``."""
    known: dict[str, object] = {}
    for each in variants:
        for name, value in () if each.variant is None else each.variant.of_request:
            if known.setdefault(name, value) != value:
                return None
    return _joined(variants) if variants else None


def filed(found: Matches, place: int) -> tuple[bytes, int]:
    """The name under which a place is filed, and how many of its recordings end with this one."""
    for part in found.parts or (found,):
        at = bisect_left(part.places, place)
        if at < len(part.places) and part.places[at] == place:
            return part.name, at + 1
    return found.name, 0


def narrowed(found: Matches, places: Sequence[int]) -> Matches:
    """Some of the recordings that were found, in the order of ``places``."""
    if places is found.places:
        return found
    parts = []
    for part in found.parts:
        own = frozenset(part.places)
        left = [place for place in places if place in own]
        if left:
            parts.append(evolve(part, places=left))
    return evolve(found, places=places, parts=parts)


def next_of(playhead: Playhead, scope: str, found: Matches) -> int | None:
    """The place that answers now; ``None`` if the recordings are used up."""
    if found.parts:
        heads = playhead.heads(scope, [part.name for part in found.parts])
        at, head = due(heads, found, playhead.repeat)
        found = found.parts[at]
        playhead.move(scope, found.name, head)
    return playhead.next(scope, found.name, found.places)


def due(heads: Sequence[int], found: Matches, repeat: Repeat) -> tuple[int, int]:
    """Which of the parts of what was found has its turn, and the head to go on from.

    Requests that differ may share some parts and not others. So each part has
    a head of its own, and the earliest recording that has not answered is next.
    In later rounds it is the earliest of those that answered least; a part that
    was left out for more than a round has no more turns for that.
    """
    parts, order = found.parts, found.places.index
    turns = [divmod(head, ROUND) for head in heads]
    if repeat is Repeat.CYCLE:
        for number, (done, at) in enumerate(turns):
            if at >= len(parts[number].places):
                turns[number] = done + 1, 0
    else:
        left = [at < len(part.places) for (_, at), part in zip(turns, parts, strict=True)]
        if not any(left):
            last = max(range(len(parts)), key=lambda number: order(parts[number].places[-1]))
            return last, heads[last]
        turns = [turn if more else (1, 0) for turn, more in zip(turns, left, strict=True)]
    latest = max(turns)[0]
    turns = [(max(done, latest - 1), at) for done, at in turns]
    turn = [(done, order(part.places[at])) for (done, at), part in zip(turns, parts, strict=True)]
    number = turn.index(min(turn))
    return number, turns[number][0] * ROUND + turns[number][1]


def _joined(variants: Sequence[Matches]) -> Matches:
    first = variants[0]
    if len(variants) == 1:
        return first if not first.others else Matches(first.name, first.places, first.variant)
    places = sorted([place for each in variants for place in each.places])
    return Matches(first.name, places, first.variant, parts=variants)
