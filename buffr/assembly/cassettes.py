"""The cassettes of one service: one object a file, however many routes share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel

from buffr.assembly.openings import Openings
from buffr.config import Config
from buffr.errors import CassetteError, ConfigError
from buffr.interaction import Interaction
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.captures import without_redacted
from buffr.policy.mode import Mode
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette import Access, Cassette

__all__ = ["Cassettes"]

_MOST = 4096


class Cassettes:
    """Makes and keeps cassettes by their real path."""

    def __init__(self, config: Config, reactor: Any, rules: RedactionRules) -> None:
        self._config = config
        self._reactor = reactor
        self._rules = rules
        self._modes: dict[Path, Mode] = {}
        self._made: dict[Path, Cassette] = {}
        self._openings = Openings()

    def expect(self, rows: Iterable[tuple[Path, Mode]]) -> None:
        """Learn which modes share a file. Raises ``ConfigError`` where they do not go together."""
        for path, mode in rows:
            if not mode.uses_cassette:
                continue
            known = self._modes.setdefault(path.resolve(), mode)
            if known is not mode and Mode.RECORD in (known, mode):
                raise ConfigError(
                    f"cassette {path}: mode record sets it aside and starts it anew",
                    hint="give the routes in other modes a cassette of their own",
                )
            if known is not mode:
                self._modes[path.resolve()] = Mode.AUTO

    def of(self, path: Path, mode: Mode) -> Cassette:
        """The cassette at a path, not yet opened when it is new."""
        real = path.resolve()
        if not path.name:
            raise ConfigError(f"cassette {path}: is a directory", hint="name a file in it")
        cassette = self._made.get(real)
        if cassette is None:
            if len(self._made) >= _MOST:
                raise ConfigError(
                    f"more than {_MOST} cassettes are open",
                    hint="let a host of '*' take what is not listed",
                )
            cassette = self._made[real] = Cassette(
                path,
                redact=self._redact,
                call_from_thread=self._reactor.callFromThread,
                now=self._reactor.seconds,
                warn=_warn,
                durability=self._config.durability,
                file_mode=self._config.file_mode,
                access=_ACCESS.get(self._modes.get(real, mode), "append"),
            )
        return cassette

    def _redact(self, salt: bytes) -> Callable[[Interaction], Interaction]:
        redactor = Redactor(self._rules, salt, _warn, self._config.data_dir)
        return lambda one: without_redacted(redactor.interaction(one), IN_MEMORY)

    def open_all(self) -> None:
        """Read all that are known so far. Blocks. Raises ``CassetteError``."""
        for real, cassette in self._made.items():
            self._prepare(cassette)
            cassette.open()
            self._openings.done.add(real)

    def _prepare(self, cassette: Cassette) -> None:
        """Say when there is nothing to replay; make the directory for recordings."""
        path = cassette.path
        if cassette.access == "replay":
            if not path.exists():
                _warn(f"cassette {path}: there is no such file yet; every request is a miss")
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CassetteError(
                f"cassette {path}: its directory cannot be made: {error.strerror}"
            ) from error

    async def opened(self, cassette: Cassette) -> None:
        """Have a cassette read while the service runs. Raises ``CassetteError``."""
        real = cassette.path.resolve()
        await self._openings.once(real, partial(self._in_thread, cassette))

    def _in_thread(self, cassette: Cassette) -> Deferred[None]:
        self._prepare(cassette)
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, cassette.open, in_steps=True)

    async def close(self) -> None:
        """Write what waits, and let go of the files."""
        for cassette in self._made.values():
            await cassette.close()


_ACCESS: dict[Mode, Access] = {Mode.REPLAY: "replay", Mode.RECORD: "anew"}


def _warn(line: str) -> None:
    say(LogLevel.warn, line)
