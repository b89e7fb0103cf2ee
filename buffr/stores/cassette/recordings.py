"""The recordings of a cassette by place, read from its file on request.

The most recently requested ones stay decoded, up to a limit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred

from buffr.errors import CassetteError
from buffr.interaction import (
    BrokenInteraction,
    HTTPInteraction,
    IndexEntry,
    Interaction,
    RecordedRequest,
)
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.elements import Elements, HeldFile, StoredElement
from buffr.stores.cassette.format import broken_request, decode, decode_index, index_entry
from buffr.stores.cassette.spans import Spans
from buffr.stores.cassette.thread import Work
from buffr.stores.cassette.window import Disturbed
from buffr.stores.writable import why_not
from buffr.transport.streams import Signal

__all__ = ["Decoded", "Recordings"]


@define(eq=False)
class Decoded:
    """Interactions by place, up to ``most_bytes`` of their text in the file."""

    most_bytes: int
    held_bytes: int = field(init=False, default=0)
    _held: OrderedDict[int, tuple[Interaction, int]] = field(init=False, factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, place: int) -> Interaction | None:
        held = self._held.get(place)
        if held is None:
            return None
        self._held.move_to_end(place)
        return held[0]

    def keep(self, place: int, interaction: Interaction, size_bytes: int) -> None:
        """Keep one, and drop the least recently requested ones."""
        self._held[place] = (interaction, size_bytes)
        self.held_bytes += size_bytes
        while self.held_bytes > self.most_bytes:
            _, (_, freed) = self._held.popitem(last=False)
            self.held_bytes -= freed

    def clear(self) -> None:
        self._held.clear()
        self.held_bytes = 0


_DECODED_BYTES = 64 << 20
_LARGE_BYTES = 65536
"""Larger elements are read and decoded off the reactor's thread."""


@define(eq=False)
class _Loading:
    """A recording that is being read, and then the result; nothing if that failed."""

    over: Signal = field(factory=Signal)
    interaction: Interaction | None = None


@define(eq=False)
class Recordings:
    """The content of a file. ``start`` runs work on the cassette's thread.

    ``redacted`` removes the credentials from what another program recorded.
    ``fault`` says why the current file cannot be read.
    """

    path: Path
    _bodies: BodyFiles
    _redacted: Callable[[Interaction], Interaction]
    _start: Callable[[Work], None]
    elements: Elements = field(init=False, factory=lambda: Elements(0))
    fault: str = field(init=False, default="")
    decoded: Decoded = field(init=False, factory=lambda: Decoded(_DECODED_BYTES))
    _loading: dict[int, _Loading] = field(init=False, factory=dict)
    _closed: bool = field(init=False, default=False)

    def take(self, elements: Elements) -> None:
        """The file was read again."""
        self.elements = elements
        self.decoded.clear()

    def move(self, file: HeldFile, spans: Spans, file_bytes: int) -> None:
        """The same recordings are in another file."""
        self.elements.move(file, spans, file_bytes)

    def places(self) -> range:
        return range(self.elements.first_place, self.elements.next_place)

    async def cold(self, place: int) -> Interaction:
        """The interaction at a place, from the file. Raises ``CassetteError``."""
        while (loading := self._loading.get(place)) is not None:
            await loading.over.wait()
            if loading.interaction is not None:
                return loading.interaction
        stored = self.elements.at(place)
        if stored is None:
            raise CassetteError(f"{self.path}: the recording was removed from the file meanwhile")
        if stored.size_bytes <= _LARGE_BYTES or self._closed:
            return self._kept(place, stored)
        interaction = await self._read_off_reactor(place, stored)
        self._keep(place, stored, interaction)
        return interaction

    def _kept(self, place: int, stored: StoredElement) -> Interaction:
        interaction = self._read(stored)
        self._keep(place, stored, interaction)
        return interaction

    def _keep(self, place: int, stored: StoredElement, interaction: Interaction) -> None:
        is_there = self.elements.at(place) is not None
        if is_there and all(body.file is None for body in interaction.bodies):
            self.decoded.keep(place, interaction, stored.size_bytes)

    async def _read_off_reactor(self, place: int, stored: StoredElement) -> Interaction:
        """One read serves all concurrent requests."""
        done: Deferred[Interaction] = Deferred()
        loading = self._loading[place] = _Loading()
        self._start(Work(partial(self._read, stored), done))
        try:
            loading.interaction = await done
            return loading.interaction
        finally:
            del self._loading[place]
            loading.over.notify()

    def peek(self, places: Sequence[int]) -> list[Interaction | CassetteError]:
        """The interactions at some places, which are not kept in memory. For any thread."""
        elements = self.elements
        found: list[Interaction | CassetteError] = []
        for place in places:
            stored = elements.at(place)
            if stored is None:
                found.append(CassetteError(f"{self.path}: the recording was removed meanwhile"))
                continue
            try:
                found.append(self._read(stored))
            except CassetteError as error:
                found.append(error)
        return found

    def _read(self, stored: StoredElement) -> Interaction:
        """An element's interaction. For any thread. Raises ``CassetteError``."""
        try:
            interaction = decode(stored.read(), self._bodies.directory)
        except CassetteError as error:
            where = f"{self.path}: interaction {stored.number}"
            raise CassetteError(f"{where}: {error.message}") from error
        except OSError as error:
            raise CassetteError(f"{self.path} cannot be read: {why_not(error)}") from error
        except Disturbed:
            raise self._gone(stored.number) from None
        for body in interaction.bodies:
            self._bodies.check(body)
        return self._redacted(interaction) if interaction.recorded_at is None else interaction

    def entry(self, place: int, elements: Elements | None = None) -> IndexEntry | None:
        """The interaction at a place in the form for lookups, if possible. For any thread."""
        stored = (elements or self.elements).at(place)
        if stored is None:
            return None
        with suppress(ValueError, OSError, Disturbed):
            return index_entry(decode_index(stored.read()), self._bodies.directory)
        return None

    def entry_to_replay(self, place: int) -> IndexEntry:
        """As ``sure_entry``, for one that is probably requested next: it is read just once."""
        stored = self.elements.at(place)
        if stored is not None and stored.size_bytes <= _LARGE_BYTES:
            with suppress(CassetteError):  # told when it is requested
                interaction = self._kept(place, stored)
                # What another program recorded may be kept with other bytes than it is filed by.
                if isinstance(interaction, HTTPInteraction) and interaction.recorded_at:
                    return IndexEntry.of(interaction)
        return self.sure_entry(place)

    def sure_entry(self, place: int) -> IndexEntry:
        """The same for one that was read before. Raises ``CassetteError`` if it cannot be."""
        entry = self.entry(place)
        if entry is None:
            raise self._gone(place - self.elements.first_place)
        return entry

    def _gone(self, number: int) -> CassetteError:
        why = f", and cannot be read: {self.fault}" if self.fault else " just now"
        return CassetteError(
            f"{self.path}: interaction {number} is gone: the file was changed{why}"
        )

    def request(self, place: int) -> RecordedRequest | None:
        """The request at a place, while it is in the file and can be replayed."""
        entry = self.entry(place)
        return None if entry is None else entry.request

    async def found(self, place: int) -> IndexEntry | BrokenInteraction | None:
        """The entry at a place, in the form for lookups.

        One that is never replayed has the reason.
        """
        stored = self.elements.at(place)
        if stored is None:
            return None
        if stored.size_bytes <= _LARGE_BYTES or self._closed:
            return self._found(stored)
        done: Deferred[IndexEntry | BrokenInteraction | None] = Deferred()
        self._start(Work(partial(self._found, stored), done))
        return await done

    def _found(self, stored: StoredElement) -> IndexEntry | BrokenInteraction | None:
        """For any thread."""
        directory = self._bodies.directory
        with suppress(ValueError, OSError, Disturbed):
            element = decode_index(stored.read())
            with suppress(ValueError):
                entry = index_entry(element, directory)
                if entry is not None:
                    return entry
            return broken_request(element, directory)
        return None

    def end(self) -> None:
        """The thread does no more work: large recordings are read by the caller, too."""
        self._closed = True

    def close(self) -> None:
        """Close the file; recordings can still be read, as long as it exists."""
        self.elements.close()

    def release(self) -> None:
        """Free the memory, once closed."""
        self.elements.close()
        self.decoded.clear()
