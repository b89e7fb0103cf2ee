"""Cassettes for tests: real files, real threads, and a reactor that the test drives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from recordings import exchange_of, key, key_of, rough_of
from turns import Turns

from buffr.interaction import HTTPInteraction, Interaction
from buffr.stores.cassette.store import Cassette, CassetteStore
from buffr.stores.disk import Disk
from buffr.stores.interactions import StoreAccess
from buffr.transport.turn import Turn

QUIET_S = 0.02


@define
class Deck:
    """One cassette that is open, as one process has it."""

    path: Path
    access: StoreAccess = "append"
    disk: Disk = field(factory=Disk)
    durability: Any = "process"
    patience_s: float = 10.0
    turns: Turns = field(factory=Turns)
    turn: Turn = field()
    said: list[str] = field(factory=list)
    redacted: Callable[[Interaction], Interaction] = lambda interaction: interaction
    cassette: Cassette = field(init=False)
    store: CassetteStore = field(init=False)

    @turn.default
    def _turn_of_turns(self) -> Turn:
        reactor: Any = self.turns
        return Turn(reactor)

    def __attrs_post_init__(self) -> None:
        self.cassette = Cassette(
            self.path,
            redact=lambda salt: self.redacted,
            call_from_thread=self.turns.call,
            turn=self.turn,
            warn=self.said.append,
            access=self.access,
            durability=self.durability,
            disk=self.disk,
            quiet_s=QUIET_S,
        )
        self.cassette._file.patience_s = self.patience_s
        self.store = self.cassette.view(key_of, rough_of)
        self.cassette.open()

    def append(self, *interactions: HTTPInteraction) -> None:
        for interaction in interactions:
            self.turns.run(self.store.append(interaction))

    def count(self, target: bytes) -> int:
        found = self.turns.run(self.store.find([key(target)]))
        return 0 if found is None else len(found.places)

    def bodies(self, target: bytes) -> list[bytes]:
        found = self.turns.run(self.store.find([key(target)]))
        places = [] if found is None else found.places
        return [exchange_of(self.turns.run(self.store.load(place))).body.data for place in places]

    def close(self) -> None:
        self.turns.run(self.store.close())


def paths(cassette: Path) -> list[str]:
    """The paths of all requests in a cassette file, which must be valid JSON."""
    elements = json.loads(cassette.read_bytes())["interactions"]
    return [element["http"]["request"]["path"] for element in elements if "http" in element]
