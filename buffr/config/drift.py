"""What counts when recordings are compared with the live API."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import setting
from buffr.config.shapes import ListOf, Rules

__all__ = ["DriftSettings", "VolatileSettings"]


@frozen(kw_only=True)
class VolatileSettings:
    """Values that are new in every answer. ``headers`` are in lower case."""

    path: str = setting(
        kinds.NAME,
        "*",
        "The paths of the requests whose answers have them; `*` stands for any characters.",
    )
    json: tuple[str, ...] = setting(
        ListOf(kinds.JSON_PATH, tuple), (), "Paths of the values in JSON answers."
    )
    headers: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple), (), "Headers of the answers."
    )


@frozen(kw_only=True)
class DriftSettings:
    """What `buffr cassette check` and `refresh` compare. ``headers`` are in lower case."""

    headers: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple), (), "Headers that count in addition to the defaults."
    )
    volatile: tuple[VolatileSettings, ...] = setting(
        Rules(VolatileSettings),
        (),
        "Values that do not count, because they are new in every answer. "
        "`buffr cassette check --write-rules` writes what it has learnt here.",
    )
