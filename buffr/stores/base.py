"""What the engine asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from buffr.interaction import Broken, IndexEntry, Interaction, RecordedRequest
from buffr.matching.key import MatchKey, RecordedKey, Variant

__all__ = ["Found", "Late", "Store"]


@frozen(eq=False)
class Found:
    """The interactions of one key and variant, in recorded order.

    ``name`` is what a playhead counts them by. ``others`` are those of the
    key's other variants, in the order of their first interactions.
    """

    name: bytes
    places: Sequence[int]
    variant: Variant | None = None
    others: Sequence[Found] = ()


class Late(Protocol):
    """Interactions that are filed once more when a long body of their request was read.

    ``places`` are those of all whose bodies take long to read; another list
    when the store was read anew.
    """

    @property
    def places(self) -> Sequence[int]: ...

    def add(self, place: int, key: RecordedKey) -> None:
        """File one by what its body means."""

    def find(self, keys: Sequence[MatchKey]) -> Found | None:
        """Those of the first key that has any."""


class Store(Protocol):
    """Finds and keeps interactions.

    All methods are called on the reactor's thread.
    """

    async def find(self, keys: Sequence[MatchKey]) -> Found | None:
        """The whole interactions of the first key that has any.

        ``keys`` go from exact to lenient.
        """

    def find_loose(self, keys: Sequence[MatchKey]) -> Found | None:
        """Interactions whose keys are one of these but for values that count by pseudonyms.

        Only where each of these values is the only one that the store has
        under its name for its origin, so that there is nothing to mix up.
        """

    async def load(self, place: int) -> Interaction:
        """The interaction at one of ``Found.places``.

        Raises ``CassetteError`` when it cannot be read.
        """

    @property
    def late(self) -> Late: ...

    def places(self) -> range:
        """The places that interactions have now."""

    def entry(self, place: int) -> IndexEntry | None:
        """What is at a place, as it is looked up; ``None`` as for ``request``."""

    def request(self, place: int) -> RecordedRequest | None:
        """The request at a place; ``None`` for what is never looked up, or no longer there."""

    def broken(self, place: int) -> Broken | None:
        """What is at a place and never replayed; ``None`` for all else."""

    @property
    def trouble(self) -> str:
        """What is wrong with the store as a whole, in words; empty for nothing."""

    async def append(self, interaction: Interaction) -> None:
        """Keep an interaction; returns when it would survive this process.

        Raises ``StoreFailed`` when it could not be kept; the store is as it was.
        """

    async def close(self) -> None:
        """Finish what is under way; further calls are errors."""
