"""What one process has of a server, with a reactor of its own; several of them share a thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from reactors import ReactorTurns
from recordings import exchange_of, key, key_of, recording

from buffr.errors import StoreFailed
from buffr.stores.interactions import StoreAccess
from buffr.stores.redis.address import OnStoreError, RedisAddress
from buffr.stores.redis.client import Patience, RedisClient
from buffr.stores.redis.interactions import RedisInteractions
from buffr.stores.redis.server import RedisServer

_PATIENCE = Patience(5.0, 5.0)


class Process:
    """A set of interactions as one process sees it, and what it has logged."""

    def __init__(
        self,
        address: RedisAddress,
        name: str = "api",
        access: StoreAccess = "append",
        *,
        on_error: OnStoreError = "refuse",
        patience: Patience = _PATIENCE,
        spool_dir: Path | None = None,
        spool_bytes: int = 1 << 20,
        may_start_down: bool = False,
    ) -> None:
        self.lines: list[str] = []
        self.turns = ReactorTurns()
        self.client = RedisClient(address, self.turns.reactor, patience, self._log)
        self.server = RedisServer(self.client, self._log, spool_dir, spool_bytes)
        self.interactions: RedisInteractions = self.server.interactions(
            name,
            lambda salt: lambda interaction: interaction,
            access,
            may_start_down=may_start_down,
        )
        self.view = self.interactions.view(key_of)
        self.view.on_error = on_error
        try:
            self.interactions.open()
        except StoreFailed:
            self.turns.close()
            raise

    def _log(self, line: str, *, trouble: bool) -> None:
        self.lines.append(line)

    def append(self, target: bytes = b"/a", body: bytes = b"answer") -> None:
        self.turns.run(self.view.append(recording(target, body)))

    def bodies(self, target: bytes = b"/a") -> list[bytes]:
        found = self.turns.run(self.view.find([key(target)]))
        places: Sequence[int] = () if found is None else found.places
        return [exchange_of(self.turns.run(self.view.load(place))).body.data for place in places]

    def close(self) -> None:
        self.turns.run(self.view.close())
        self.turns.run(self.server.close())
        self.turns.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
