"""The recordings of one service: one object per cassette or set, shared by its routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.config import Config, scope_cassette
from buffr.config.caching import CacheSettings
from buffr.errors import ConfigError, Unwritable
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Interaction
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.captures import without_redacted
from buffr.policy.mode import Mode
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.store import Cassette
from buffr.stores.interactions import InteractionSet, Redact, SetName, StoreAccess
from buffr.stores.memory import MemoryInteractions
from buffr.stores.writable import check_beside, check_directory, check_file
from buffr.transport.streams import Signal
from buffr.transport.turn import Turn
from buffr.wiring.keeping import Keeping, make_directory
from buffr.wiring.known_types import KnownTypes
from buffr.wiring.open_once import Openings
from buffr.wiring.servers import Servers

__all__ = ["Cassettes", "Place", "SharedCassette", "place_of"]

_MOST_SAID = 10_000
_OF_OTHER_TOOLS = frozenset((".yaml", ".yml", ".har"))
_ELSEWHERE = (
    "choose another file or directory (--cassette, --data-dir), "
    "use mode replay, which writes nothing"
)
_ANOTHER_DIRECTORY = "choose another one (--data-dir)"
_UNRECORDED = "requests are answered, but not recorded while this lasts"


Place = Path | SetName
"""Where a route's recordings are: in a cassette, or in a set of a SQLite file, of a server or of
memory."""


class _Row(Protocol):
    """The settings that determine where recordings are."""

    @property
    def cassette(self) -> Path: ...
    @property
    def cache(self) -> CacheSettings: ...


def place_of(row: _Row, scope: str = "") -> Place:
    """Where a row's recordings are: its cassette, or the set of that name in its store."""
    cassette, store = scope_cassette(row.cassette, scope), row.cache.store
    return cassette if store is None else SetName(store.path, cassette.stem, store.server)


@define(eq=False)
class SharedCassette:
    """A cassette or set, its real path when it was created, and the number of its users."""

    cassette: InteractionSet
    place: Place
    real: Place
    users: int = 0


class Cassettes:
    """Creates cassettes, one for each real path, and keeps each while it is used."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        rules: RedactionRules,
        servers: Servers,
        spool_dir: Path | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.servers = servers
        self.types = KnownTypes(_warn, config.file_mode)
        self._config = config
        self._turn = Turn(reactor) if turn is None else turn
        self._reactor = reactor
        self._rules = rules
        self._spool_dir = spool_dir
        self._keeping = Keeping(config.allow_unrecorded, _warn)
        self._modes: dict[Place, Mode] = {}
        self._places: dict[Place, Place] = {}
        self._directories: list[Path] = []
        self._unwritable: set[Path] = set()
        self._memory: dict[Place, MemoryInteractions] = {}
        self._made: dict[Place, SharedCassette] = {}
        self._closing: dict[Place, Signal] = {}
        self._begun: set[Place] = set()
        self._said: set[Place] = set()
        self._openings: Openings[Place] = Openings()

    def expect(self, rows: Iterable[tuple[Place, Mode]]) -> None:
        """Register which modes share a file. Raises ``ConfigError`` if they are incompatible."""
        for place, mode in rows:
            if not mode.uses_cassette:
                continue
            if isinstance(place, SetName) and place.server is not None:
                self.servers.of(place.server)
            real = _real(place)
            self._places.setdefault(real, place)
            known = self._modes.setdefault(real, mode)
            if known is not mode and Mode.RECORD in (known, mode):
                raise ConfigError(
                    f"{_named(place)}: mode record sets it aside and starts a new one",
                    hint="give the routes in other modes their own cassette",
                )
            if known is not mode:
                self._modes[real] = Mode.AUTO

    def expect_in(self, directory: Path) -> None:
        """Register a directory in which cassettes of unknown hosts will be created."""
        self._directories.append(directory)

    def of(self, place: Place, mode: Mode) -> InteractionSet:
        """The recordings at a place, kept permanently; not yet opened if they are new."""
        return self._shared(place, _real(place), mode).cassette

    async def borrow(self, place: Place, mode: Mode) -> SharedCassette:
        """The recordings at a place, for one user who gives them back; see ``opened``.

        Waits for one that is being closed.
        """
        real = _real(place)
        while real in self._closing:
            await self._closing[real].wait()
        return self._shared(place, real, mode)

    async def let_record(self, shared: SharedCassette) -> None:
        """Accept recordings at an open place, even if it was opened for replay only.

        Raises ``Unwritable``, ``ConfigError``.
        """
        cassette = shared.cassette
        if cassette.access != "replay":
            return
        if not isinstance(cassette, Cassette) and not (
            isinstance(shared.place, SetName) and shared.place.file is None
        ):
            raise ConfigError(
                f"{_named(shared.place)}: was opened for replay only",
                hint="start buffr in a mode that records",
            )
        pool = self._reactor.getThreadPool()
        await deferToThreadPool(self._reactor, pool, self._check, shared.place, cassette)
        cassette.access = "append"

    def give_back(self, shared: SharedCassette) -> bool:
        """Release one user's claim. Returns whether it was the last one: then it is closed."""
        shared.users -= 1
        if shared.users:
            return False
        real = shared.real
        del self._made[real]
        news = self._closing[real] = Signal()

        def closed(_: object) -> None:
            del self._closing[real]
            news.notify()

        Deferred.fromCoroutine(self._close(shared)).addErrback(_close_failed).addCallback(closed)
        return True

    async def _close(self, shared: SharedCassette) -> None:
        await self._openings.settled(shared.real)
        self._openings.done.discard(shared.real)
        cassette = shared.cassette
        if isinstance(cassette, MemoryInteractions):
            cassette.views.clear()  # a host that comes back finds its recordings
            return
        await cassette.close()
        if cassette.access == "anew" and not cassette.replaces:
            self._begun.add(shared.real)
        cassette.release()

    def _shared(self, place: Place, real: Place, mode: Mode) -> SharedCassette:
        if isinstance(place, Path) and not place.name:
            raise ConfigError(f"cassette {place}: is a directory", hint="name a file in it")
        shared = self._made.get(real)
        if shared is None:
            made = self._new(place, real, mode)
            shared = self._made[real] = SharedCassette(made, place, real)
        shared.users += 1
        return shared

    def _new(self, place: Place, real: Place, mode: Mode) -> InteractionSet:
        access = _ACCESS.get(self._modes.get(real, mode), "append")
        if access == "anew" and real in self._begun:
            access = "append"  # its content was recorded by this process
        redact = partial(self._redact, self.types.at(place), self.types.keeping(place))
        if isinstance(place, SetName):
            return self._new_set(place, real, access, redact)
        if place.suffix.lower() in _OF_OTHER_TOOLS:
            return self._in_place(place, access, redact)
        return Cassette(
            place,
            redact=redact,
            call_from_thread=self._reactor.callFromThread,
            turn=self._turn,
            warn=_warn,
            durability=self._config.durability,
            file_mode=self._config.file_mode,
            access=access,
        )

    def _in_place(self, path: Path, access: StoreAccess, redact: Redact) -> InteractionSet:
        from buffr.interchange.in_place import RecordingsInPlace  # noqa: PLC0415  # few need it

        if access != "replay":
            raise ConfigError(
                f"cassette {path}: recordings of other tools are replayed where they are, "
                "and never written",
                hint=f"use mode replay, or a cassette of its own: buffr cassette import {path}",
            )
        return RecordingsInPlace(redact, access=access, where=str(path), path=path)

    def _new_set(
        self, name: SetName, real: Place, access: StoreAccess, redact: Redact
    ) -> InteractionSet:
        if name.server is not None:
            server, may_start_down = self.servers.of(name.server), self._config.allow_unrecorded
            return server.interactions(name.name, redact, access, may_start_down=may_start_down)
        if name.file is None:
            memory = self._memory.get(real)
            if memory is None:
                most_bytes = self._config.cache.most_bytes
                memory = MemoryInteractions(redact, most_bytes, reactor=self._reactor)
                self._memory[real] = memory
            memory.access = access
            return memory
        from buffr.stores.sqlite.interactions import SQLiteInteractions  # noqa: PLC0415

        return SQLiteInteractions(
            name,
            name.file,
            redact=redact,
            call_from_thread=self._reactor.callFromThread,
            turn=self._turn,
            warn=_warn,
            aside=partial(deferToThreadPool, self._reactor, self._reactor.getThreadPool()),
            durability=self._config.durability,
            file_mode=self._config.file_mode,
            access=access,
        )

    def _redact(
        self, types: MessageTypes, keep: Callable[[Interaction], None] | None, salt: bytes
    ) -> Callable[[Interaction], Interaction]:
        redactor = Redactor(self._rules, salt, _warn, self._spool_dir, types)

        def redacted(one: Interaction) -> Interaction:
            if keep is not None:
                keep(one)
            return without_redacted(redactor.interaction(one), IN_MEMORY)

        return redacted

    def open_all(self) -> None:
        """Read all that are known so far. Blocks.

        Raises ``CassetteError`` for one that cannot be read, and
        ``Unwritable`` if something cannot be recorded.
        """
        for real, shared in self._made.items():
            if isinstance(real, SetName):  # which is created when it is opened
                self._check_set(shared)
            self._say_missing(shared)
            shared.cassette.open()
            self._openings.done.add(real)
        for real, place in self._places.items():
            if self._modes[real].records and (isinstance(place, Path) or real not in self._made):
                made = self._made.get(real)
                self._check(place, None if made is None else made.cassette)
        for directory in self._directories:
            self._check_directory(directory)
        if self._spool_dir is not None:
            self._keeping.checked(
                f"data_dir {self._spool_dir}",
                partial(make_directory, self._spool_dir),
                elsewhere=_ANOTHER_DIRECTORY,
                otherwise="large bodies are refused",
            )

    def _check(self, place: Place, cassette: InteractionSet | None) -> None:
        """Raise ``Unwritable`` if nothing can be recorded, unless that is allowed."""
        file = _file_of(place)
        if file is None:
            return

        def check() -> None:
            make_directory(file.parent)
            if cassette is not None:
                cassette.check_writable()
            elif isinstance(place, SetName):
                check_beside(file)
            else:
                check_file(file)

        kept = self._keeping.checked(
            _named(place), check, elsewhere=_ELSEWHERE, otherwise=_UNRECORDED
        )
        if not kept:
            self._unwritable.add(file.resolve())
        if cassette is not None:
            cassette.losses_noted = not kept

    def _check_set(self, shared: SharedCassette) -> None:
        """Like ``_check``; a file that cannot be written is read, if it exists."""
        if shared.cassette.access == "replay":
            return
        self._check(shared.place, shared.cassette)
        if shared.cassette.losses_noted:
            shared.cassette.access = "replay"

    def _check_directory(self, directory: Path) -> None:
        def check() -> None:
            make_directory(directory)
            check_directory(directory)

        kept = self._keeping.checked(
            f"data_dir {directory}, where cassettes are created,",
            check,
            elsewhere=_ANOTHER_DIRECTORY,
            otherwise=_UNRECORDED,
        )
        if not kept:
            self._unwritable.add(directory.resolve())

    def _say_missing(self, shared: SharedCassette) -> None:
        """Warn if there is nothing to replay: once for each file, even if it is reopened."""
        real = shared.real
        if shared.cassette.access != "replay" or shared.cassette.exists():
            return
        if real not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(real)
            what = "there is no such file yet" if _file_of(real) else "nothing is there yet"
            _warn(f"{_named(shared.place)}: {what}; every request is a miss")

    async def opened(self, shared: SharedCassette) -> None:
        """Read a cassette while the service runs. Raises ``CassetteError``."""
        await self._openings.once(shared.real, partial(self._in_thread, shared))

    def _in_thread(self, shared: SharedCassette) -> Deferred[None]:
        self._say_missing(shared)
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, self._open_later, shared)

    def _open_later(self, shared: SharedCassette) -> None:
        """Open while the service runs. Nothing is refused at this stage: losses are logged."""
        cassette = shared.cassette
        if isinstance(shared.real, SetName):
            try:
                self._check_set(shared)
            except Unwritable as error:
                _warn(f"{error.message}; {_UNRECORDED}")
                cassette.access = "replay"
            cassette.open(in_steps=True)
            return
        cassette.open(in_steps=True)
        if cassette.access == "replay":
            return
        if {shared.real, shared.real.parent} & self._unwritable:
            cassette.losses_noted = True
            return
        try:
            self._check(shared.place, cassette)
        except Unwritable as error:
            _warn(f"{error.message}; {_UNRECORDED}")

    async def close(self) -> None:
        """Write what waits, and let go of the files."""
        for shared in list(self._made.values()):
            await shared.cassette.close()
        while self._closing:
            await next(iter(self._closing.values())).wait()


def _real(place: Place) -> Place:
    if isinstance(place, Path):
        return place.resolve()
    return place if place.file is None else evolve(place, file=place.file.resolve())


def _file_of(place: Place) -> Path | None:
    return place if isinstance(place, Path) else place.file


def _named(place: Place) -> str:
    """For the log."""
    return f"cassette {place}" if isinstance(place, Path) else f"store {place}"


def _close_failed(failure: Failure) -> None:
    error = failure.value
    say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")


_ACCESS: dict[Mode, StoreAccess] = {Mode.REPLAY: "replay", Mode.RECORD: "anew"}


def _warn(line: str) -> None:
    say(LogLevel.warn, line)
