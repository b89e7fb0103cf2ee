"""A process that records until it is killed: ``appender.py CASSETTE PREFIX COUNT LARGE``.

It prints the path of each interaction when it is acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cassettes import Deck
from recordings import recording


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(path: str, prefix: str, count: str, large: str) -> None:
    deck = Deck(Path(path))
    say("ready")
    sys.stdin.readline()
    for number in range(int(count)):
        target = f"/{prefix}{number}"
        size = int(large) if number % 3 == 2 else 100
        deck.append(recording(target.encode(), f"{number}:".encode() * (size // 4)))
        say(target)
    deck.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
