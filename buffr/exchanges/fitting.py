"""Joins the variants of one key that fit a request.

An API may answer one request in turn with 503 as text, 202 without a body and
200 as JSON, or with another ``Vary``. Each is filed as another variant, and
yet all of them answer that request, in recorded order.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from buffr.matching.variants import Selecting
from buffr.stores.base import Matches

__all__ = ["fitting", "of_one_request", "variants_of"]


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
        alike = [each for each in fit if _of_one_request(fit[0], each)]
    return _joined(alike) if alike else None


def of_one_request(variants: Sequence[Matches]) -> Matches | None:
    """All of the variants, if their recorded requests do not differ; else ``None``."""
    same = all(_of_one_request(one, other) for one, other in pairwise(variants))
    return _joined(variants) if variants and same else None


def _of_one_request(one: Matches, other: Matches) -> bool:
    if one.variant is None or other.variant is None:
        return True
    return one.variant.may_be_of_request_of(other.variant)


def _joined(variants: Sequence[Matches]) -> Matches:
    first = variants[0]
    if len(variants) == 1:
        return first if not first.others else Matches(first.name, first.places, first.variant)
    places = sorted([place for each in variants for place in each.places])
    return Matches(first.name, places, first.variant)
