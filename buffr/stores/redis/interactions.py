"""Recordings on a server that many processes share: looked up in memory, kept by the server.

Each process has an index of its own, since match rules belong to routes, and a
copy of the recordings that it used last. The server pushes a message when the
set has grown or was replaced; the next lookup then reads what is new.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from buffr.errors import BuffrError, CassetteError, StoreFailed, StoreUnreachable
from buffr.interaction import BrokenInteraction, IndexEntry, Interaction, RecordedRequest
from buffr.matching.key import MatchKey
from buffr.stores.base import Matches
from buffr.stores.cassette.index import Filing, Index, KeyOf, RoughOf, always_exact
from buffr.stores.cassette.recordings import Decoded
from buffr.stores.cassette.thread import Backlog, let_others_run
from buffr.stores.interactions import (
    Redact,
    SetView,
    StoreAccess,
    in_memory,
    in_words,
    not_recorded,
)
from buffr.stores.redis.client import RedisClient, Script
from buffr.stores.redis.elements import Kept, StoredElement, kept, read_field
from buffr.stores.redis.protocol import BlockingConnection
from buffr.stores.redis.sets import ABSENT, APPEND, SET_ASIDE, STEP, Head, SetKeys
from buffr.stores.redis.spool import AppendSpool
from buffr.transport.eager import AT_ONCE_BYTES, aside
from buffr.transport.streams import Signal

__all__ = ["RedisInteractions", "RedisView"]

_DECODED_BYTES = 64 << 20
_AHEAD = 64
_WAITING = 4096
_WAITING_BYTES = 256 << 20
_append = Script(APPEND)


@define(eq=False)
class RedisView(SetView["RedisInteractions"]):
    """A ``Store`` over a set on a server, for one way to make match keys.

    While the server cannot be asked, nothing is found with ``on_error``
    ``upstream``, with ``local`` what this process has a copy of, and with
    ``refuse`` a lookup raises ``StoreUnreachable``.
    """

    _ahead: dict[int, IndexEntry | BrokenInteraction | None] = field(init=False, factory=dict)

    async def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        interactions = self.interactions
        if interactions.replaces:
            return None
        if self.building is None and not interactions.changed():
            found = self.index.find(keys)
            if found is not None:
                return found
        # Whatever is not known here may have been recorded by another process a moment ago.
        try:
            await interactions.caught_up()
        except StoreFailed as error:
            return self._without_server(keys, error)
        while self.building is not None:
            await self.building.wait()
        return self.index.find(keys)

    def _without_server(self, keys: Sequence[MatchKey], error: StoreFailed) -> Matches | None:
        if self.on_error == "refuse":
            raise error
        if self.on_error == "upstream":
            return None
        found = self.index.find(keys)
        return None if found is None else self._held(found)

    def _held(self, found: Matches) -> Matches | None:
        """What was found, if all of it is in memory."""
        warm = self.interactions.warm
        groups = (found, *found.others)
        return found if all(warm(place) for each in groups for place in each.places) else None

    async def load(self, place: int) -> Interaction:
        return self.interactions.warm(place) or await self.interactions.cold(place)

    async def places(self) -> range:
        return self.interactions.places()

    async def entries(
        self, places: Sequence[int]
    ) -> Sequence[IndexEntry | BrokenInteraction | None]:
        """One round trip serves many: what follows is read, too."""
        for place in places:
            if place not in self._ahead:
                self._ahead = await self.interactions.read_entries(place, _AHEAD)
        return [self._ahead.get(place) for place in places]


@define(eq=False)
class RedisInteractions:
    """One set of interactions on a server: an ``InteractionSet``. Call ``open`` first.

    ``warn`` is called with lines for the log. ``access`` ``replay`` only
    reads; ``anew`` moves the existing set to ``NAME.bak`` when the first
    recording is made. What the server cannot take goes into the ``spool``, if
    there is one, and is stored later.
    """

    name: str
    client: RedisClient
    redact: Redact = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    reactor: Any = field(kw_only=True)
    access: StoreAccess = field(default="append", kw_only=True)
    spool: AppendSpool | None = field(default=None, kw_only=True)
    may_start_down: bool = field(default=False, kw_only=True)
    views: list[RedisView] = field(init=False, factory=list)
    salt: bytes = field(init=False, factory=lambda: secrets.token_hex(16).encode())
    losses_noted: bool = field(init=False, default=False)
    replaces: bool = field(init=False, default=False)
    trouble: str = field(init=False, default="")
    _keys: SetKeys = field(init=False)
    _head: Head = field(init=False, default=ABSENT)
    _first: int = field(init=False, default=0)
    _known: int = field(init=False, default=0)
    _dirty: bool = field(init=False, default=True)
    _fetching: Signal | None = field(init=False, default=None)
    _decoded: Decoded = field(init=False, factory=lambda: Decoded(_DECODED_BYTES))
    _backlog: Backlog = field(init=False, factory=lambda: Backlog(_WAITING, _WAITING_BYTES))
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._keys = SetKeys(self.client.address.prefix, self.name)
        self.replaces = self.access == "anew"
        self.client.at_each_connection(self._note)

    @property
    def where(self) -> str:
        return str(self.client.address)

    def exists(self) -> bool:
        return self._head.count > 0

    def check_writable(self) -> None:
        """The server is asked when the set is opened."""

    def view(self, key_of: KeyOf, rough_of: RoughOf = always_exact) -> RedisView:
        view = RedisView(self, Index(Filing(key_of, rough_of)))
        self.views.append(view)
        if self._known:
            view.building = Signal()
            Deferred.fromCoroutine(self._build(view)).addErrback(self._not_built, view)
        return view

    async def _build(self, view: RedisView) -> None:
        """Make the index of a view that was created after the set was read."""
        head, index = self._head, Index(view.index.filing)
        at = 0
        while head.id == self._head.id and at < self._known:
            for stored in await self._read(head.id, at, min(at + STEP, self._known)):
                _file(index, stored, self._first + at)
                at += 1
        if view.building is not None:
            view.take(index)

    def _not_built(self, failure: Failure, view: RedisView) -> None:
        self.warn(f"{self.where}: the index of {self.name}: {failure.getErrorMessage()}")
        view.take(view.index)
        self._dirty = True

    def open(self, *, in_steps: bool = False) -> None:
        try:
            with BlockingConnection.to(self.client.address) as connection:
                make = self.access != "replay"
                asked = self._keys.make(self.salt) if make else self._keys.read_head()
                self._take_head(Head.of(connection.ask(*asked)))
                while not self.replaces and self._known < self._head.count:
                    end = min(self._known + STEP, self._head.count)
                    read = connection.ask(*self._keys.read(self._head.id, self._known, end))
                    self._add(read)
                    if in_steps:
                        let_others_run()
        except StoreFailed as error:
            if not self.may_start_down:
                raise StoreFailed(
                    f"{self.where} cannot be used: {error.message}",
                    hint="start the server, or start with --allow-unrecorded",
                ) from error
            self.warn(f"{self.where} cannot be used yet: {error.message}")

    # Existing interactions.

    def changed(self) -> bool:
        return (self._dirty or not self.client.is_fresh) and not self.replaces

    def _note(self) -> None:
        self._dirty = True

    async def caught_up(self) -> None:
        """Read what others have changed. Raises ``StoreFailed``."""
        # Watched first: a change while the reply is under way makes another look necessary.
        self.client.watch(self._keys.head.encode(), self._note)
        self._dirty = False
        try:
            head = Head.of(await self.client.ask(*self._keys.read_head()))
            self._take_head(head)
            while self._known < self._head.count:
                await self._fetch()
        except BaseException:
            self._dirty = True
            raise

    def _take_head(self, head: Head) -> None:
        if head.id != self._head.id:
            if self._head.id:
                self._forget()
            if head.id:
                self.salt = head.salt
        self._head = head

    def _forget(self) -> None:
        """The set was replaced."""
        self._first += self._known
        self._known = 0
        self._decoded.clear()
        for view in self.views:
            view.take(Index(view.index.filing))

    async def _fetch(self) -> None:
        """Read some that are new; if others are about to, wait for them."""
        if self._fetching is not None:
            await self._fetching.wait()
            return
        news = self._fetching = Signal()
        try:
            set_id, first = self._head.id, self._known
            end = min(first + STEP, self._head.count)
            read = await self.client.ask(*self._keys.read(set_id, first, end))
            if set_id == self._head.id and first == self._known:
                self._add(read)
        finally:
            self._fetching = None
            news.notify()

    def _add(self, read: list[bytes | None]) -> None:
        for data in read:
            place = self._first + self._known
            self._known += 1
            stored = _stored(data)
            for view in self.views:
                if view.building is None:
                    _file(view.index, stored, place)

    async def _read(self, set_id: str, first: int, end: int) -> list[StoredElement | None]:
        return [
            _stored(each) for each in await self.client.ask(*self._keys.read(set_id, first, end))
        ]

    def places(self) -> range:
        return range(self._first, self._first + self._known)

    async def read_entries(
        self, place: int, count: int
    ) -> dict[int, IndexEntry | BrokenInteraction | None]:
        """What stands at a place, and at so many that follow."""
        at = place - self._first
        end = min(at + count, self._known)
        if not 0 <= at < end:
            return {}
        with suppress(StoreFailed):
            read = await self._read(self._head.id, at, end)
            return {place + number: _entry(stored) for number, stored in enumerate(read)}
        return {}

    def request(self, place: int) -> RecordedRequest | None:
        held = self.warm(place)
        return None if held is None else held.request

    def warm(self, place: int) -> Interaction | None:
        return self._decoded.get(place)

    async def cold(self, place: int) -> Interaction:
        """The interaction at a place. Raises ``CassetteError`` and ``StoreUnreachable``."""
        if place not in self.places():
            raise CassetteError(f"{self.where}: there is no recording {place}")
        head = self._head
        (stored,) = await self._read(head.id, place - self._first, place - self._first + 1)
        try:
            if stored is None:
                raise CassetteError("it is gone")
            parts = [await self.client.ask(*each) for each in self._keys.read_parts(stored)]
            interaction = await aside(self.reactor, stored.size_bytes, stored.interaction, parts)
        except CassetteError as error:
            raise CassetteError(f"{self.where}: recording {place}: {error}") from error
        if head.id == self._head.id:
            self._decoded.keep(place, interaction, stored.size_bytes)
        return interaction

    # Appending.

    async def append(self, interaction: Interaction) -> None:
        size_bytes = sum([body.size_bytes for body in interaction.bodies])
        if self._closed:
            raise StoreFailed(f"{self.where} is closed")
        if self.access == "replay":
            failure = StoreFailed(f"{self.where} is open for replay only")
            failure.noted = self.losses_noted
            raise failure
        await self._backlog.enter(size_bytes)
        try:
            await self._append(interaction, size_bytes)
        except (OSError, BuffrError) as error:
            raise not_recorded(self.redact, interaction, error) from error
        finally:
            self._backlog.leave(size_bytes)
        self.losses_noted = False

    async def _append(self, interaction: Interaction, size_bytes: int) -> None:
        token = secrets.token_hex(12)
        while True:
            salt = self.salt
            made = await aside(self.reactor, size_bytes, self._made, interaction, salt, token)
            try:
                place, set_id = await self._store(made, salt)
            except StoreFailed as error:
                await self._spooled(made, salt, error)
                return
            if place >= 0:
                self._appended(made, place, set_id)
                return

    def _made(self, interaction: Interaction, salt: bytes, token: str) -> Kept:
        """The stored form. For any thread. Raises ``OSError`` and others."""
        return kept(self.redact(salt)(interaction).with_bodies(in_memory), token)

    async def _store(self, made: Kept, salt: bytes, *, whatever: bool = False) -> tuple[int, str]:
        for command in self._keys.put_parts(made):
            await self.client.ask(*command)
        replaced = self._head.id if self.replaces else ""
        keys, arguments = self._keys.append(made, salt, replaced, whatever=whatever)
        place, set_id, now_salt = await self.client.run(_append, keys, *arguments)
        if self.replaces and place >= 0:
            self.replaces = False
            if self._head.count:
                aside_name = self.name + SET_ASIDE
                self.warn(
                    f"{self.where}: {self.name} is recorded again; the old set is {aside_name}"
                )
        if now_salt:
            self.salt = now_salt
        return place, set_id.decode()

    def _appended(self, made: Kept, place: int, set_id: str) -> None:
        """File what was appended, unless others appended something before it."""
        if set_id and set_id != self._head.id and place == 0:
            self._take_head(evolve(self._head, id=set_id, salt=self.salt, count=0))
        if set_id != self._head.id or place != self._known:
            self._dirty = True
            return
        self._head = evolve(self._head, count=place + 1)
        self._add([made.field])
        if not made.parts and len(made.field) <= AT_ONCE_BYTES:
            stored = read_field(made.field)
            self._decoded.keep(self._first + place, stored.interaction(), stored.size_bytes)

    async def _spooled(self, made: Kept, salt: bytes, error: StoreFailed) -> None:
        """Keep what the server could not take. Raises the error if that is impossible, too."""
        spool = self.spool
        if spool is None:
            raise error
        pool = self.reactor.getThreadPool()
        try:
            put = deferToThreadPool(self.reactor, pool, spool.put, self.name, made, salt)
            taken = await put
        except OSError as wrong:
            raise StoreFailed(f"{error.message}; spool: {in_words(wrong)}") from wrong
        if not taken:
            raise StoreUnreachable(f"{error.message}; the spool is full")

    async def store_spooled(self, made: Kept, salt: bytes) -> None:
        """Append what was spooled, redacted by ``salt``. Raises ``StoreFailed``."""
        place, set_id = await self._store(made, salt, whatever=True)
        self._appended(made, place, set_id)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._backlog.all_let_in()
            self.client.unwatch(self._keys.head.encode())

    def release(self) -> None:
        self.views.clear()
        self._decoded.clear()


def _stored(data: bytes | None) -> StoredElement | None:
    with suppress(ValueError):
        return None if data is None else read_field(data)
    return None


def _entry(stored: StoredElement | None) -> IndexEntry | BrokenInteraction | None:
    if stored is None:
        return None
    with suppress(ValueError):
        entry = stored.entry()
        if entry is not None:
            return entry
    with suppress(ValueError):
        return stored.broken()
    return None


def _file(index: Index, stored: StoredElement | None, place: int) -> None:
    found = _entry(stored)
    if isinstance(found, IndexEntry):
        index.add(found, place)
