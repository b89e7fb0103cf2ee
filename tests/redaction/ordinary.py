"""Ordinary values as SDKs send and get them, made of the lines of ``corpus/ordinary.tsv``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import frozen
from planted import PLACES, filled

from buffr.interaction import Interaction

__all__ = ["Ordinary", "ordinary"]

_CORPUS = Path(__file__).parent / "corpus" / "ordinary.tsv"
_PLACES = {
    "header": ("header", "answer-header"),
    "json": ("json", "answer-json"),
    "query": ("query",),
}
_COUNT = 3000


@frozen
class Ordinary:
    """A value that is not a secret. ``never``: it is of those that are never redacted."""

    place: str
    name: str
    value: str
    never: bool

    @property
    def exchange(self) -> Interaction:
        return PLACES[self.place](self.name, self.value)


def ordinary() -> list[Ordinary]:
    """3,000 of them, the same ones in every run."""
    rows = [
        line.split("\t")
        for line in _CORPUS.read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return [one for one, _ in zip(_drawn(rows), range(_COUNT), strict=False)]


def _drawn(rows: list[list[str]]) -> Iterator[Ordinary]:
    variety = 0
    while True:
        for number, (place, never, name, template) in enumerate(rows):
            value, _ = filled(template, f"ordinary/{variety}/{number}")
            places = _PLACES[place]
            yield Ordinary(places[variety % len(places)], name, value, never == "*")
        variety += 1
