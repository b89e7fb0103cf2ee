"""A set of interactions, and the stores over it: one for each route."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from attrs import define, evolve, frozen

from buffr.errors import BuffrError, StoreFailed
from buffr.interaction import (
    Body,
    BrokenInteraction,
    HTTPInteraction,
    IndexEntry,
    Interaction,
    RecordedRequest,
)
from buffr.matching.key import MatchKey
from buffr.message import ResponseHead
from buffr.stores.base import Matches, Store
from buffr.stores.cassette.index import Index, KeyOf, LateIndex, RoughOf, always_exact
from buffr.stores.redis.address import OnStoreError, RedisAddress
from buffr.transport.streams import Signal

__all__ = [
    "IndexedStore",
    "InteractionSet",
    "InteractionView",
    "Redact",
    "SetName",
    "SetView",
    "StoreAccess",
    "in_memory",
    "in_words",
    "not_recorded",
]

StoreAccess = Literal["append", "replay", "anew"]

Redact = Callable[[bytes], Callable[[Interaction], Interaction]]
"""Makes, from a set's salt, a function that redacts interactions."""


@frozen
class SetName:
    """The name of a set of interactions in a SQLite ``file``, on a ``server``, or in memory."""

    file: Path | None
    name: str
    server: RedisAddress | None = None

    def __str__(self) -> str:
        if self.server is not None:
            return str(self.server)
        return "memory:" if self.file is None else f"sqlite:{self.file}"


class IndexedStore(Store, Protocol):
    """A ``Store`` over a set, with an index of its own in memory.

    ``on_error`` matters only to one across a network.
    """

    on_error: OnStoreError

    @property
    def index(self) -> Index: ...

    @property
    def interactions(self) -> InteractionSet:
        """All interactions of the set, however they are looked up."""


class InteractionSet(Protocol):
    """Interactions in recorded order, each at its own place: a cassette, or a set elsewhere.

    With ``access`` ``replay`` nothing is written; with ``anew`` older
    interactions are not looked up, and are moved out of the way by the first
    recording. ``losses_noted`` says that the log already reports that nothing
    can be written. ``where`` describes the location.
    """

    access: StoreAccess
    losses_noted: bool

    @property
    def where(self) -> str: ...

    @property
    def salt(self) -> bytes:
        """The salt for the pseudonyms of its secrets; it changes when the set is replaced."""

    @property
    def replaces(self) -> bool:
        """Whether older recordings still have to be moved aside, because of ``anew``."""

    def view(self, key_of: KeyOf, rough_of: RoughOf = always_exact) -> IndexedStore:
        """A store over this set, for one way to make match keys, and rough ones."""

    def open(self, *, in_steps: bool = False) -> None:
        """Read the existing interactions. Blocks. Raises a ``BuffrError``.

        ``in_steps`` is for a thread beside a running reactor.
        """

    def check_writable(self) -> None:
        """Raise ``OSError`` if a recording could not be written now. Blocks."""

    def exists(self) -> bool:
        """Whether there is, or may be, anything to replay."""

    def request(self, place: int) -> RecordedRequest | None:
        """The request at a place, while it can be replayed."""

    async def close(self) -> None:
        """Write everything that is waiting, and close the file."""

    def release(self) -> None:
        """Free the memory, once it is closed."""


class _Changing(InteractionSet, Protocol):
    """What a view requires of its set; see ``Store`` for members of the same name."""

    @property
    def views(self) -> Sequence[SetView[Any]]: ...

    @property
    def trouble(self) -> str: ...

    def changed(self) -> bool:
        """Whether another process has changed the set since the last check."""

    async def caught_up(self) -> None:
        """Read what other processes have changed."""

    def append(self, interaction: Interaction) -> Coroutine[Any, Any, None]: ...


_Set = TypeVar("_Set", bound=_Changing)


@define(eq=False)
class SetView(Generic[_Set]):
    """What all stores over a set have in common: how they look up, and when they close it."""

    interactions: _Set
    index: Index
    closed: bool = False
    building: Signal | None = None
    """Set while the existing interactions are being indexed."""
    on_error: OnStoreError = "refuse"

    def generation(self) -> object:
        if self.building is not None or self.interactions.changed():
            return None
        return self.index.generation

    async def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        interactions = self.interactions
        if interactions.changed():
            await interactions.caught_up()
        while self.building is not None:
            await self.building.wait()
        if self.index.waiting:
            await self.settle(keys)
        return self.index.find(keys)

    async def settle(self, keys: Sequence[MatchKey]) -> None:
        """File the interactions that these keys may find, if any are waiting."""

    async def find_loose(self, keys: Sequence[MatchKey]) -> Matches | None:
        return self.index.find_loose(keys)

    @property
    def late(self) -> LateIndex:
        return self.index.late

    def take(self, index: Index) -> None:
        """Use this index for lookups from now on."""
        building, self.building = self.building, None
        self.index = index
        if building is not None:
            building.notify()

    @property
    def trouble(self) -> str:
        return self.interactions.trouble

    def append(self, interaction: Interaction) -> Coroutine[Any, Any, None]:
        return self.interactions.append(interaction)

    async def close(self) -> None:
        """The last view to close closes the set."""
        self.closed = True
        if all(view.closed for view in self.interactions.views):
            await self.interactions.close()


class _Viewed(_Changing, Protocol):
    """A set whose interactions are at consecutive places; an interaction keeps its own."""

    def warm(self, place: int) -> Interaction | None:
        """The interaction at a place, if it is in memory."""

    async def cold(self, place: int) -> Interaction:
        """The interaction at a place. Raises ``CassetteError``."""

    def places(self) -> range: ...

    def entry(self, place: int) -> IndexEntry | None:
        """The interaction at a place in the form for lookups, while it can be replayed."""

    def broken(self, place: int) -> BrokenInteraction | None:
        """The request at a place that cannot be replayed, if the request can be read."""


@define(eq=False)
class InteractionView(SetView[_Viewed]):
    """A ``Store`` over a set in memory or in a database, for one way to make match keys."""

    async def load(self, place: int) -> Interaction:
        return self.interactions.warm(place) or await self.interactions.cold(place)

    async def places(self) -> range:
        return self.interactions.places()

    async def entries(
        self, places: Sequence[int]
    ) -> Sequence[IndexEntry | BrokenInteraction | None]:
        interactions = self.interactions
        return [interactions.entry(place) or interactions.broken(place) for place in places]


def in_memory(body: Body) -> Body:
    """A body whose bytes are in memory. Raises ``OSError`` if its file cannot be read."""
    return body if body.file is None else evolve(Body.of(body.file.read_bytes()), key=body.key)


def not_recorded(redact: Redact, interaction: Interaction, error: Exception) -> StoreFailed:
    """The error for a recording that could not be written; it names the request without secrets."""
    old = interaction.request
    bare = RecordedRequest(old.method, old.target, old.headers)
    head = ResponseHead(interaction.response.status, b"", ())
    request = redact(b"")(HTTPInteraction(bare, head)).request
    name = f"{request.method.decode('latin-1')} {request.target.decode('latin-1')}"
    failure = StoreFailed(f"{name} was not recorded: {in_words(error)}")
    failure.__cause__ = error
    return failure


def in_words(error: Exception) -> str:
    """What went wrong with a file, in words."""
    if isinstance(error, BuffrError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return f"{type(error).__name__}: {error}"
