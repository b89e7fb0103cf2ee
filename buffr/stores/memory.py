"""Recordings in memory: they are lost when the process ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import (
    BrokenInteraction,
    HTTPInteraction,
    IndexEntry,
    Interaction,
    RecordedRequest,
)
from buffr.matching.key import RecordedKey
from buffr.stores.cassette.index import Filing, Index, KeyOf, RoughOf, always_exact
from buffr.stores.cassette.requests import stored_request
from buffr.stores.interactions import (
    InteractionView,
    Redact,
    StoreAccess,
    in_memory,
    not_recorded,
)
from buffr.transport.eager import aside

__all__ = ["MemoryInteractions"]

_OVERHEAD_BYTES = 2048
"""The approximate size of an interaction's objects, without its bodies."""


def _as_it_is(_: bytes) -> Callable[[Interaction], Interaction]:
    return lambda interaction: interaction


@define(eq=False)
class MemoryInteractions:
    """Keeps interactions after ``redact``; bodies in files are read into memory.

    Takes up to ``most_bytes``, zero for unlimited. Long bodies are searched
    and filed on threads of the ``reactor``, if there is one.
    """

    redact: Redact = _as_it_is
    most_bytes: int = 0
    access: StoreAccess = "append"
    where: str = "memory:"
    path: Path | None = None
    reactor: Any = None
    views: list[InteractionView] = field(init=False, factory=list)
    salt: bytes = field(init=False, factory=lambda: secrets.token_hex(16).encode())
    losses_noted: bool = field(init=False, default=False)
    trouble: str = field(init=False, default="")
    replaces: bool = field(init=False, default=False)
    _interactions: list[Interaction] = field(init=False, factory=list)
    _held_bytes: int = field(init=False, default=0)
    _closed: bool = field(init=False, default=False)

    def view(self, key_of: KeyOf, rough_of: RoughOf = always_exact) -> InteractionView:
        view = InteractionView(self, Index(Filing(key_of, rough_of)))
        for place in self.places():
            entry = self.entry(place)
            if entry is not None:
                view.index.add(entry, place)
        self.views.append(view)
        return view

    def open(self, *, in_steps: bool = False) -> None:
        """Nothing needs to be opened."""

    def check_writable(self) -> None:
        """Memory is always writable."""

    def exists(self) -> bool:
        return bool(self._interactions)

    def changed(self) -> bool:
        return False

    async def caught_up(self) -> None:
        """No other process changes it."""

    def warm(self, place: int) -> Interaction | None:
        return self._interactions[place] if 0 <= place < len(self._interactions) else None

    async def cold(self, place: int) -> Interaction:
        raise CassetteError(f"there is no recording {place}")

    def places(self) -> range:
        return range(len(self._interactions))

    def entry(self, place: int) -> IndexEntry | None:
        interaction = self.warm(place)
        return IndexEntry.of(interaction) if interaction is not None and interaction.whole else None

    def request(self, place: int) -> RecordedRequest | None:
        entry = self.entry(place)
        return None if entry is None else entry.request

    def broken(self, place: int) -> BrokenInteraction | None:
        interaction = self.warm(place)
        why = None if interaction is None else interaction.broke_off
        if interaction is None or why is None:
            return None
        unended = isinstance(interaction, HTTPInteraction) and interaction.unended
        return BrokenInteraction.off(interaction.request, why, unended=unended)

    async def append(self, interaction: Interaction) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
        size_bytes = _OVERHEAD_BYTES + sum([body.size_bytes for body in interaction.bodies])
        held = 0
        try:
            if 0 < self.most_bytes < self._held_bytes + size_bytes:
                raise StoreFailed(f"the memory for recordings is full ({self.most_bytes} bytes)")
            held = size_bytes
            self._held_bytes += held
            if self.reactor is None:
                kept, keys = self._made(interaction)
            else:
                kept, keys = await aside(self.reactor, size_bytes, self._made, interaction)
        except (OSError, StoreFailed) as error:
            self._held_bytes -= held
            raise not_recorded(self.redact, interaction, error) from error
        self._file(kept, keys)

    def keep(self, interaction: Interaction) -> None:
        """Take an interaction in at the end, on any thread, before anybody looks for it."""
        self._file(*self._made(interaction))

    def _file(self, kept: Interaction, keys: Mapping[KeyOf, RecordedKey]) -> None:
        self._interactions.append(kept)
        if kept.whole:
            for view in self.views:
                place = len(self._interactions) - 1
                view.index.add(IndexEntry.of(kept), place, keys.get(view.index.filing.key_of))

    def _made(self, interaction: Interaction) -> tuple[Interaction, dict[KeyOf, RecordedKey]]:
        """An interaction in its stored form, and its keys in the views. For any thread."""
        kept = self.redact(self.salt)(interaction).with_bodies(in_memory)
        kept = evolve(kept, request=stored_request(kept.request))
        if not kept.whole:
            return kept, {}
        entry = IndexEntry.of(kept)
        key_ofs = [view.index.filing.key_of for view in self.views]
        return kept, {key_of: key_of(entry) for key_of in key_ofs}

    async def close(self) -> None:
        self._closed = True

    def release(self) -> None:
        self._interactions.clear()
