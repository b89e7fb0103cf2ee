"""Joins the variants of one key that fit a request.

An API may answer one request in turn with 503 as text, 202 without a body and
200 as JSON, or with another ``Vary``. Each is filed as another variant, and
yet all of them answer that request, in recorded order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from buffr.matching.variants import Selecting
from buffr.stores.base import Matches

__all__ = ["filed", "fitting", "of_one_request", "variants_of"]


def variants_of(found: Matches | None) -> list[Matches]:
    """What was found for a key, as a list of its variants."""
    return [] if found is None else [_joined((found,)), *found.others]


def fitting(selecting: Selecting, variants: Sequence[Matches]) -> Matches | None:
    """The recordings that answer a request with these selecting fields, in recorded order.

    If none was recorded for the same ``Accept``, they are those of the first
    client whose answers this one admits. Recordings without request headers
    answer only if no others do. The name is that of the first variant: it
    remains when more are recorded.
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


def _joined(variants: Sequence[Matches]) -> Matches:
    first = variants[0]
    if len(variants) == 1:
        return first if not first.others else Matches(first.name, first.places, first.variant)
    places = sorted([place for each in variants for place in each.places])
    return Matches(first.name, places, first.variant, parts=variants)
