"""``buffr cassette rm`` and ``expire``: interactions are taken out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from attrs import define
from twisted.python import usage

from buffr.commands.cassette.arguments import CassetteOptions, numbers, snapshot_of
from buffr.commands.cassette.ls import Row, rows
from buffr.commands.terminal import complain, plain
from buffr.config.kinds import duration
from buffr.config.schema import Refused
from buffr.config.yaml_text import Scalar
from buffr.stores.cassette.removal import Removed, take_out
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["expire", "rm"]

_AGE = duration()
_DRY_RUN = ["dry-run", "n", "Say what would be taken out, and leave the file."]


class RmOptions(CassetteOptions):
    """What ``buffr cassette rm`` takes."""

    synopsis = "Usage: buffr cassette rm [options] FILE [N|N-M ...]"
    longdesc = (
        "Takes interactions out, counted from 0: 3, 5-9, or 12- for all from 12 on. Numbers and "
        "--match are alternatives: what either names goes. The others keep their bytes and order."
    )
    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["match", "m", None, "Those whose path, or whole URL, fits: '/v1/models*', '*.png'."],
    ]
    optFlags = [_DRY_RUN]  # noqa: RUF012
    takes = (1, None)


class ExpireOptions(CassetteOptions):
    """What ``buffr cassette expire`` takes."""

    synopsis = "Usage: buffr cassette expire --older-than AGE [options] FILE"
    longdesc = (
        "Takes out what was recorded longer ago than AGE: 12h, 30d. Interactions that do not "
        "say when they were recorded stay."
    )
    optParameters = [["older-than", None, None, "An age: 90m, 12h, 30d."]]  # noqa: RUF012
    optFlags = [_DRY_RUN]  # noqa: RUF012

    def postOptions(self) -> None:
        """Read the age."""
        text = self["older-than"]
        if text is None:
            raise usage.UsageError("--older-than is missing: say how old, such as 30d")
        try:
            self.age = timedelta(seconds=_AGE.parse(Scalar("--older-than", text)))
        except Refused:
            raise usage.UsageError(f"--older-than: {text!r} must be {_AGE.allowed}") from None


def rm(arguments: Sequence[str]) -> int:
    """Take interactions out; returns the exit code."""
    options = RmOptions()
    options.parseOptions(arguments)
    path, *texts = options.arguments
    pattern = options["match"]
    if not texts and pattern is None:
        raise usage.UsageError("say which interactions: numbers, ranges like 3-5, or --match")

    def choose(snapshot: Snapshot) -> Collection[int]:
        chosen = set(numbers(texts, snapshot))
        if pattern is not None:
            chosen |= {row.index for row in rows(snapshot) if _fits(row, pattern)}
        return chosen

    return _take_out(path, choose, dry_run=options["dry-run"])


def _fits(row: Row, pattern: str) -> bool:
    url = row.url or ""
    path = url.split("://", 1)[-1]
    path = path[path.find("/") :].partition("?")[0]
    return any(fnmatchcase(text, pattern) for text in (path, url))


def expire(arguments: Sequence[str]) -> int:
    """Take old interactions out; returns the exit code."""
    options = ExpireOptions()
    options.parseOptions(arguments)
    before = datetime.now(UTC) - options.age
    undated = _Undated()

    def choose(snapshot: Snapshot) -> Collection[int]:
        found = list(rows(snapshot))
        undated.count = sum(row.fault is None and _time(row) is None for row in found)
        return [row.index for row in found if (time := _time(row)) is not None and time < before]

    code = _take_out(options.arguments[0], choose, dry_run=options["dry-run"])
    if undated.count:
        complain(f"{undated.count} interactions do not say when they were recorded; they stay")
    return code


@define
class _Undated:
    count: int = 0


def _time(row: Row) -> datetime | None:
    try:
        time = datetime.fromisoformat(row.recorded_at or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _take_out(path: str, choose: Callable[[Snapshot], Collection[int]], *, dry_run: bool) -> int:
    if dry_run:
        snapshot = snapshot_of(path)
        chosen = frozenset(choose(snapshot))
        for row in rows(snapshot):
            if row.index in chosen:
                what = row.fault or f"{row.method or row.type} {row.url or ''}"
                sys.stdout.write(f"would remove {row.index}  {plain(what)}\n")
        removed, would = Removed(len(chosen), len(snapshot) - len(chosen)), "would be "
    else:
        removed, would = take_out(Path(path), choose, complain), ""
    files = len(removed.body_files)
    line = f"{removed.interactions} {would}removed, {removed.left} {would}left"
    sys.stdout.write(line + (f", {files} body files removed" if files else "") + "\n")
    return 0
