"""A process that puts entries until it is killed: path, its number, seconds of patience."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cache_entries import entry, key
from turns import Turns

from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.store import SQLiteStore


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(path: str, number: int, count: int) -> None:
    turns = Turns()
    store = SQLiteStore(
        Path(path),
        Bounds(4 << 20, 400, 1 << 20),
        call_from_thread=turns.call,
        wall=time.time,
        warn=_say,
    )
    store.open()
    _say("ready")
    for n in range(count):
        which = number * 1_000_000 + n
        turns.run(store.put(entry(key(which), bytes([n % 256]) * (n * 37 % 20_000))))
        _say(which)
    turns.run(store.close())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
