"""A store in memory: what it holds ends with the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import (
    Body,
    Broken,
    IndexEntry,
    Interaction,
    RecordedRequest,
    choosing_fields,
)
from buffr.matching.key import MatchKey
from buffr.stores.base import Found
from buffr.stores.cassette.index import Index, KeyOf, LateIndex
from buffr.stores.cassette.requests import stored_request

__all__ = ["MemoryStore"]


def _as_it_is(interaction: Interaction) -> Interaction:
    return interaction


@define(eq=False)
class MemoryStore:
    """Keeps interactions as ``redact`` leaves them; bodies in files are read into memory."""

    key_of: KeyOf
    redact: Callable[[Interaction], Interaction] = _as_it_is
    _index: Index = field(init=False)
    _interactions: list[Interaction] = field(init=False, factory=list)
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._index = Index(self.key_of)

    async def find(self, keys: Sequence[MatchKey]) -> Found | None:
        return self._index.find(keys)

    def find_loose(self, keys: Sequence[MatchKey]) -> Found | None:
        return self._index.find_loose(keys)

    @property
    def late(self) -> LateIndex:
        return self._index.late

    async def load(self, place: int) -> Interaction:
        if not 0 <= place < len(self._interactions):
            raise CassetteError(f"there is no recording {place}")
        return self._interactions[place]

    def places(self) -> range:
        return range(len(self._interactions))

    def entry(self, place: int) -> IndexEntry | None:
        interaction = self._interactions[place]
        return _entry_of(interaction) if interaction.whole else None

    def request(self, place: int) -> RecordedRequest | None:
        interaction = self._interactions[place]
        return interaction.request if interaction.whole else None

    def broken(self, place: int) -> Broken | None:
        interaction = self._interactions[place]
        why = interaction.broke_off
        return None if why is None else Broken.off(interaction.request, why)

    @property
    def trouble(self) -> str:
        return ""

    async def append(self, interaction: Interaction) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
        redacted = self.redact(interaction)
        try:
            kept = redacted.with_bodies(_in_memory)
        except OSError as error:
            raise StoreFailed(f"{error.filename}: {error.strerror}") from error
        kept = evolve(kept, request=stored_request(kept.request))
        self._interactions.append(kept)
        if kept.whole:
            self._index.add(_entry_of(kept), len(self._interactions) - 1)

    async def close(self) -> None:
        self._closed = True


def _entry_of(interaction: Interaction) -> IndexEntry:
    return IndexEntry(interaction.request, choosing_fields(interaction.response.headers))


def _in_memory(body: Body) -> Body:
    return body if body.file is None else evolve(Body.of(body.file.read_bytes()), key=body.key)
