"""What a run tells at its end: unnoticed misses, unused recordings, orphaned cassettes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

__all__ = ["lines_of", "orphans", "ran_whole", "tapes_of"]

_MOST = 20


def tapes_of(
    tapes: Iterable[Mapping[str, Any]], outcomes: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Tapes with their tests' outcomes; of a test that did not pass nothing counts as unused."""
    found = []
    for tape in tapes:
        outcome = outcomes.get(tape["test"], "passed")
        unused = tape["unused"] if outcome == "passed" else []
        found.append({**tape, "unused": unused, "outcome": outcome})
    return found


def lines_of(tapes: Iterable[Mapping[str, Any]], orphaned: list[str] | None) -> Iterator[str]:
    """For the terminal; none where there is nothing to be told."""
    tapes = list(tapes)
    live = sum(tape["live"] for tape in tapes if tape["mode"] in {"auto", "record"})
    if live:
        yield f"{live} requests went to their upstreams and were recorded"
    missed = [
        f"{tape['test']}: {miss['request']}"
        for tape in tapes
        if tape["outcome"] == "passed"
        for miss in tape["misses"]
    ]
    yield from _listed("miss in a test that passed", missed)
    unused = [f"{tape['cassette']}: {one}" for tape in tapes for one in tape["unused"]]
    yield from _listed("unused recording", unused)
    yield from _listed("orphaned cassette, which no test has", orphaned or [])


def _listed(what: str, rows: list[str]) -> Iterator[str]:
    for row in rows[:_MOST]:
        yield f"{what}: {row}"
    if len(rows) > _MOST:
        yield f"{what}: ... and {len(rows) - _MOST} more"


def ran_whole(config: pytest.Config, status: int, deselected: int) -> bool:
    """Whether every test of the suite was collected, so that a cassette without one has none."""
    option = config.option
    narrowed = any(
        getattr(option, name, None) for name in ("keyword", "markexpr", "lf", "deselect")
    )
    narrowed = narrowed or any(getattr(option, name, None) for name in ("ignore", "ignore_glob"))
    named = config.args_source is pytest.Config.ArgsSource.ARGS and any(
        Path(config.invocation_params.dir, argument).resolve() != config.rootpath
        for argument in config.args
    )
    complete = status in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    return complete and not narrowed and not named and not deselected


def orphans(expected: Iterable[str], suffixes: frozenset[str]) -> list[str]:
    """Cassettes beside those that tests have, and that no test has."""
    ours = {Path(path) for path in expected}
    known = {path.with_suffix("") for path in ours} | ours
    roots = {path.parent.parent for path in ours if path.parent.parent.name == "cassettes"}
    roots |= {path.parent for path in ours if path.parent.parent.name != "cassettes"}
    found = {
        path
        for root in roots
        if root.is_dir()
        for path in root.rglob("*")
        if path.suffix in suffixes and path.is_file()
    }
    return sorted(
        str(path) for path in found if path not in known and path.with_suffix("") not in known
    )
