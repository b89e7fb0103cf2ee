"""One benchmark under way: where its files are, on which cores it runs, and how long."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field

from benchmarks.peers import BUFFR, Build, Peers
from benchmarks.process import Failed, Process
from benchmarks.table import Row

__all__ = ["Bench", "Cores"]


@define
class Cores:
    """The server under test has one to itself; upstreams and the load share the other."""

    server: int
    load: int


@define
class Bench:
    """What a benchmark is given. What it starts is stopped when ``stack`` is closed."""

    name: str
    directory: Path
    cores: Cores
    quick: bool
    stack: ExitStack
    peers: Peers
    waits: list[float]
    """For each round of load, the part of its time in which another program had the core."""
    _files: int = field(init=False, default=0)

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 7

    @property
    def seconds(self) -> int:
        """How long a round of load lasts."""
        return 1 if self.quick else 2

    def file(self, name: str) -> Path:
        """A path that no one else has, in a directory of its own."""
        self._files += 1
        directory = self.directory / str(self._files)
        directory.mkdir()
        return directory / name

    def start(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a server, on its core unless another is given."""
        process = Process(
            name,
            command,
            port=port,
            core=self.cores.server if core is None else core,
            directory=self.file("log").parent,
            environment=environment,
        )
        self.stack.callback(process.stop)
        return process

    def buffr(
        self,
        options: Sequence[str],
        port: int,
        *,
        name: str = "",
        build: Build = BUFFR,
        core: int | None = None,
    ) -> Process:
        """Start ``buffr serve`` with these options, as its users do."""
        command = (*build.command, "serve", *options)
        environment = build.environment
        return self.start(name or build.name, command, port, core=core, environment=environment)

    def program(self, name: str) -> str:
        """The path of a program that the benchmarks cannot do without."""
        found = shutil.which(name)
        if found is None:
            raise Failed(f"{name} is not installed")
        return found

    def rows(
        self,
        measure: str,
        figures: Mapping[str, float],
        *,
        most: float | None = None,
        least: float | None = None,
        to: Mapping[str, float] | None = None,
    ) -> list[Row]:
        """A row for each server's figure; targets are buffr's alone, and those of a whole run.

        ``to`` has the most that buffr's figure may be of a peer's.
        """
        rows = [
            Row(self.name, measure, server, value)
            if self.quick or server != "buffr"
            else Row(self.name, measure, server, value, most, least)
            for server, value in figures.items()
        ]
        for peer, times in (to or {}).items():
            if peer in figures:
                ratio = figures["buffr"] / figures[peer]
                target = None if self.quick else times
                rows.append(Row(self.name, f"{measure}, to {peer}'s", "buffr", ratio, target))
        return rows

    def say(self, line: str) -> None:
        """Tell how the run goes."""
        sys.stderr.write(f"  {line}\n")
