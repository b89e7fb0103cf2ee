"""What tokens cost: a table with a date, which settings replace or extend."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from buffr.formats.llm_usage import Usage

__all__ = ["PRICES", "PRICES_OF", "Price", "Prices"]

PRICES_OF = "2025-10-01"
"""The date of the table below. Prices change: set ``prices`` for those that matter to you."""

_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3}|\d{2}-\d{4}|latest|preview)$|@.*$")
"""Endings that name a state of a model, which has the model's price."""
_MILLION = 1_000_000


@frozen
class Price:
    """US dollars for a million tokens. ``cached`` is for input that the provider had cached."""

    input: float
    output: float
    cached: float | None = None


PRICES: Mapping[str, Price] = {
    "gpt-5": Price(1.25, 10, 0.125),
    "gpt-5-mini": Price(0.25, 2, 0.025),
    "gpt-5-nano": Price(0.05, 0.4, 0.005),
    "gpt-4.1": Price(2, 8, 0.5),
    "gpt-4.1-mini": Price(0.4, 1.6, 0.1),
    "gpt-4.1-nano": Price(0.1, 0.4, 0.025),
    "gpt-4o": Price(2.5, 10, 1.25),
    "gpt-4o-mini": Price(0.15, 0.6, 0.075),
    "o3": Price(2, 8, 0.5),
    "o4-mini": Price(1.1, 4.4, 0.275),
    "text-embedding-3-small": Price(0.02, 0),
    "text-embedding-3-large": Price(0.13, 0),
    "claude-opus-4-1": Price(15, 75, 1.5),
    "claude-opus-4": Price(15, 75, 1.5),
    "claude-sonnet-4-5": Price(3, 15, 0.3),
    "claude-sonnet-4": Price(3, 15, 0.3),
    "claude-haiku-4-5": Price(1, 5, 0.1),
    "claude-3-5-haiku": Price(0.8, 4, 0.08),
    "gemini-2.5-pro": Price(1.25, 10, 0.31),
    "gemini-2.5-flash": Price(0.3, 2.5, 0.075),
    "gemini-2.5-flash-lite": Price(0.1, 0.4, 0.025),
    "mistral-large": Price(2, 6),
    "mistral-medium": Price(0.4, 2),
    "mistral-small": Price(0.1, 0.3),
    "command-a": Price(2.5, 10),
    "command-r-plus": Price(2.5, 10),
    "command-r": Price(0.15, 0.6),
}


@frozen
class Prices:
    """A table of prices by the names of models, and its date."""

    of: str = PRICES_OF
    own: Mapping[str, Price] = field(factory=dict)

    def find(self, model: str) -> Price | None:
        """The price of a model, or of one of its states; ``None`` if it is unknown."""
        for name in (model, _DATED.sub("", model)):
            price = self.own.get(name) or PRICES.get(name)
            if price is not None:
                return price
        return None

    def usd(self, usage: Usage) -> float | None:
        """What an answer cost; ``None`` if the price is unknown."""
        price = self.find(usage.model)
        if price is None:
            return None
        cached = price.input if price.cached is None else price.cached
        fresh = usage.input_tokens - usage.cached_tokens
        spent = fresh * price.input + usage.cached_tokens * cached
        return (spent + usage.output_tokens * price.output) / _MILLION
