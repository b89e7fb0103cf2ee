"""The port that the engine requires of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from buffr.interaction import BrokenInteraction, IndexEntry, Interaction
from buffr.matching.key import MatchKey, RecordedKey, Variant

__all__ = ["Late", "Matches", "Store"]


@frozen(eq=False)
class Matches:
    """The interactions of one key and variant, in recorded order.

    ``name`` is the name under which a playhead counts them. ``others`` are
    those of the key's other variants, in the order of their first
    interactions. ``parts`` are the variants that were joined to this one
    sequence, if they are several.
    """

    name: bytes
    places: Sequence[int]
    variant: Variant | None = None
    others: Sequence[Matches] = ()
    parts: Sequence[Matches] = ()


class Late(Protocol):
    """Interactions that are filed again once a long body of their request was read.

    ``places`` are those of all interactions whose bodies take long to read; a
    new list when the store was read again.
    """

    @property
    def places(self) -> Sequence[int]: ...

    def add(self, place: int, key: RecordedKey) -> None:
        """File an interaction by the meaning of its body."""

    def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The interactions of the first key that has any."""


class Store(Protocol):
    """Finds and keeps interactions.

    All methods are called on the reactor's thread. Whatever a store across a
    network would have to ask for is a coroutine; one that knows its result
    returns it without suspending, and a hit never suspends.
    """

    def generation(self) -> object:
        """While it is the same object, each lookup finds what it found before.

        ``None`` if the store must be asked first, by ``find``.
        """

    async def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The whole interactions of the first key that has any.

        ``keys`` go from exact to lenient.
        """

    async def find_loose(self, keys: Sequence[MatchKey]) -> Matches | None:
        """Interactions whose keys equal one of these, except for values that count by pseudonyms.

        Only if each of these values is the only one in the store under its
        name for its origin, so that values cannot be confused.
        """

    async def load(self, place: int) -> Interaction:
        """The interaction at one of ``Matches.places``.

        Raises ``CassetteError`` if it cannot be read.
        """

    @property
    def late(self) -> Late:
        """What this process has learnt about the long bodies of known interactions."""

    async def places(self) -> range:
        """The current places of interactions."""

    async def entries(
        self, places: Sequence[int]
    ) -> Sequence[IndexEntry | BrokenInteraction | None]:
        """The interaction at each of these places.

        In the form for lookups, or one that is never replayed with the reason;
        ``None`` if it cannot be read, or is no longer there.
        """

    @property
    def trouble(self) -> str:
        """What is wrong with the store as a whole; empty if nothing is.

        As far as is known, without asking the store.
        """

    async def append(self, interaction: Interaction) -> None:
        """Keep an interaction; returns once it would survive the end of this process.

        Raises ``StoreFailed`` if it could not be kept; the store is unchanged.
        """

    async def close(self) -> None:
        """Finish all work in progress; later calls are errors."""
