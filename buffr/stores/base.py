"""What the engine asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from buffr.interaction import Broken, IndexEntry, Interaction
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

    All methods are called on the reactor's thread. What a store across a
    network would have to ask for is a coroutine; one that knows the answer
    returns it without suspending, and a hit never suspends.
    """

    def generation(self) -> object:
        """What look-ups go by now: while it is the same object, each finds what it found.

        ``None`` where the store has to be asked first, by ``find``.
        """

    async def find(self, keys: Sequence[MatchKey]) -> Found | None:
        """The whole interactions of the first key that has any.

        ``keys`` go from exact to lenient.
        """

    async def find_loose(self, keys: Sequence[MatchKey]) -> Found | None:
        """Interactions whose keys are one of these but for values that count by pseudonyms.

        Only where each of these values is the only one that the store has
        under its name for its origin, so that there is nothing to mix up.
        """

    async def load(self, place: int) -> Interaction:
        """The interaction at one of ``Found.places``.

        Raises ``CassetteError`` when it cannot be read.
        """

    @property
    def late(self) -> Late:
        """In this process: what was learnt of the interactions that are known here."""

    async def places(self) -> range:
        """The places that interactions have now."""

    async def entries(self, places: Sequence[int]) -> Sequence[IndexEntry | Broken | None]:
        """What stands at each of these places.

        As it is looked up, or what is never replayed and why; ``None`` for
        what cannot be read, or is no longer there.
        """

    @property
    def trouble(self) -> str:
        """What is wrong with the store as a whole, in words; empty for nothing.

        As far as it is known: nobody is asked.
        """

    async def append(self, interaction: Interaction) -> None:
        """Keep an interaction; returns when it would survive this process.

        Raises ``StoreFailed`` when it could not be kept; the store is as it was.
        """

    async def close(self) -> None:
        """Finish what is under way; further calls are errors."""
