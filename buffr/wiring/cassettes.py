"""The cassettes of one service: one object a file, however many routes share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.config import Config
from buffr.errors import ConfigError, Unwritable
from buffr.interaction import Interaction
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.captures import without_redacted
from buffr.policy.mode import Mode
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.store import Cassette
from buffr.stores.interactions import Access
from buffr.stores.writable import check_directory, check_file
from buffr.transport.streams import Signal
from buffr.transport.turn import Turn
from buffr.wiring.keeping import Keeping, make_directory
from buffr.wiring.open_once import Openings

__all__ = ["Cassettes", "SharedCassette"]

_MOST_SAID = 10_000
_ELSEWHERE = (
    "choose another file or directory (--cassette, --data-dir), "
    "use mode replay, which writes nothing"
)
_ANOTHER_DIRECTORY = "choose another one (--data-dir)"
_UNRECORDED = "requests are answered and, while this lasts, not recorded"


@define(eq=False)
class SharedCassette:
    """A cassette, its real path when it was made, and how many use it."""

    cassette: Cassette
    real: Path
    users: int = 0


class Cassettes:
    """Makes cassettes by their real path, and keeps each while anybody uses it."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        rules: RedactionRules,
        spool_dir: Path | None = None,
        turn: Turn | None = None,
    ) -> None:
        self._config = config
        self._turn = Turn(reactor) if turn is None else turn
        self._reactor = reactor
        self._rules = rules
        self._spool_dir = spool_dir
        self._keeping = Keeping(config.allow_unrecorded, _warn)
        self._modes: dict[Path, Mode] = {}
        self._paths: dict[Path, Path] = {}
        self._directories: list[Path] = []
        self._unwritable: set[Path] = set()
        self._made: dict[Path, SharedCassette] = {}
        self._closing: dict[Path, Signal] = {}
        self._begun: set[Path] = set()
        self._said: set[Path] = set()
        self._openings = Openings()

    def expect(self, rows: Iterable[tuple[Path, Mode]]) -> None:
        """Learn which modes share a file. Raises ``ConfigError`` where they do not go together."""
        for path, mode in rows:
            if not mode.uses_cassette:
                continue
            self._paths.setdefault(path.resolve(), path)
            known = self._modes.setdefault(path.resolve(), mode)
            if known is not mode and Mode.RECORD in (known, mode):
                raise ConfigError(
                    f"cassette {path}: mode record sets it aside and starts it anew",
                    hint="give the routes in other modes a cassette of their own",
                )
            if known is not mode:
                self._modes[path.resolve()] = Mode.AUTO

    def expect_in(self, directory: Path) -> None:
        """Learn of a directory that cassettes will be made in, for hosts yet unknown."""
        self._directories.append(directory)

    def of(self, path: Path, mode: Mode) -> Cassette:
        """The cassette at a path, for good; not yet opened when it is new."""
        return self._shared(path, _real(path), mode).cassette

    async def borrow(self, path: Path, mode: Mode) -> SharedCassette:
        """The cassette at a path, for one user who gives it back; see ``opened``.

        One that is just being closed is waited for.
        """
        real = _real(path)
        while real in self._closing:
            await self._closing[real].wait()
        return self._shared(path, real, mode)

    def give_back(self, shared: SharedCassette) -> bool:
        """One user needs it no longer. Whether it was the last one: then it is closed."""
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
        await cassette.close()
        if cassette.access == "anew" and not cassette.replaces:
            self._begun.add(shared.real)
        cassette.release()

    def _shared(self, path: Path, real: Path, mode: Mode) -> SharedCassette:
        if not path.name:
            raise ConfigError(f"cassette {path}: is a directory", hint="name a file in it")
        shared = self._made.get(real)
        if shared is None:
            shared = self._made[real] = SharedCassette(self._new(path, real, mode), real)
        shared.users += 1
        return shared

    def _new(self, path: Path, real: Path, mode: Mode) -> Cassette:
        access = _ACCESS.get(self._modes.get(real, mode), "append")
        if access == "anew" and real in self._begun:
            access = "append"  # what is there was recorded by this process
        return Cassette(
            path,
            redact=self._redact,
            call_from_thread=self._reactor.callFromThread,
            turn=self._turn,
            warn=_warn,
            durability=self._config.durability,
            file_mode=self._config.file_mode,
            access=access,
        )

    def _redact(self, salt: bytes) -> Callable[[Interaction], Interaction]:
        redactor = Redactor(self._rules, salt, _warn, self._spool_dir)
        return lambda one: without_redacted(redactor.interaction(one), IN_MEMORY)

    def open_all(self) -> None:
        """Read all that are known so far. Blocks.

        Raises ``CassetteError`` for one that cannot be read, and
        ``Unwritable`` where something could not be recorded.
        """
        for real, shared in self._made.items():
            self._say_missing(shared)
            shared.cassette.open()
            self._openings.done.add(real)
        for real, path in self._paths.items():
            if self._modes[real].records:
                made = self._made.get(real)
                self._check(path, None if made is None else made.cassette)
        for directory in self._directories:
            self._check_directory(directory)
        if self._spool_dir is not None:
            self._keeping.checked(
                f"data_dir {self._spool_dir}",
                partial(make_directory, self._spool_dir),
                elsewhere=_ANOTHER_DIRECTORY,
                otherwise="large bodies are not taken",
            )

    def _check(self, path: Path, cassette: Cassette | None) -> None:
        """Raise ``Unwritable`` where a cassette could not be written, unless that is allowed."""

        def check() -> None:
            make_directory(path.parent)
            if cassette is None:
                check_file(path)
            else:
                cassette.check_writable()

        kept = self._keeping.checked(
            f"cassette {path}", check, elsewhere=_ELSEWHERE, otherwise=_UNRECORDED
        )
        if not kept:
            self._unwritable.add(path.resolve())
        if cassette is not None:
            cassette.losses_noted = not kept

    def _check_directory(self, directory: Path) -> None:
        def check() -> None:
            make_directory(directory)
            check_directory(directory)

        kept = self._keeping.checked(
            f"data_dir {directory}, where cassettes are made,",
            check,
            elsewhere=_ANOTHER_DIRECTORY,
            otherwise=_UNRECORDED,
        )
        if not kept:
            self._unwritable.add(directory.resolve())

    def _say_missing(self, shared: SharedCassette) -> None:
        """Say when there is nothing to replay: once for each file, however often it is let go."""
        path, real = shared.cassette.path, shared.real
        if shared.cassette.access != "replay" or path.exists():
            return
        if real not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(real)
            _warn(f"cassette {path}: there is no such file yet; every request is a miss")

    async def opened(self, shared: SharedCassette) -> None:
        """Have a cassette read while the service runs. Raises ``CassetteError``."""
        await self._openings.once(shared.real, partial(self._in_thread, shared))

    def _in_thread(self, shared: SharedCassette) -> Deferred[None]:
        self._say_missing(shared)
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, self._open_later, shared.cassette)

    def _open_later(self, cassette: Cassette) -> None:
        """Open while the service runs. Nothing is refused any more: each loss is in the log."""
        cassette.open(in_steps=True)
        if cassette.access == "replay":
            return
        real = cassette.path.resolve()
        if {real, real.parent} & self._unwritable:
            cassette.losses_noted = True
            return
        try:
            self._check(cassette.path, cassette)
        except Unwritable as error:
            _warn(f"{error.message}; {_UNRECORDED}")

    async def close(self) -> None:
        """Write what waits, and let go of the files."""
        for shared in list(self._made.values()):
            await shared.cassette.close()
        while self._closing:
            await next(iter(self._closing.values())).wait()


def _real(path: Path) -> Path:
    return path.resolve()


def _close_failed(failure: Failure) -> None:
    error = failure.value
    say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")


_ACCESS: dict[Mode, Access] = {Mode.REPLAY: "replay", Mode.RECORD: "anew"}


def _warn(line: str) -> None:
    say(LogLevel.warn, line)
