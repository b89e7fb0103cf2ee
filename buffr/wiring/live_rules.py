"""Rules for matching that are tried on a running service, accepted, and undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from attrs import define, evolve, field, frozen

from buffr.config import Config
from buffr.config.forward import ForwardHost
from buffr.config.gateway import GatewayRow
from buffr.config.growing import grown, row_at, with_rules, with_rules_at
from buffr.config.kinds import TARGET
from buffr.config.rewriting import replace_file
from buffr.config.schema import Refused
from buffr.config.written import Scalar
from buffr.errors import ConfigError
from buffr.exchanges.route import Recorded
from buffr.formats.yaml_lines import block
from buffr.matching.matcher import Matcher
from buffr.wiring.live_changes import RouteChanges, Row

__all__ = ["Candidate", "LiveRules", "LoadSettings"]

LoadSettings = Callable[[Path], Config]
"""Loads a settings file with the environment and the flags of this process."""


@frozen(eq=False)
class Candidate:
    """Rules for a route, and what they would change: its row, its matcher, the settings file.

    ``file`` is ``None`` if no file has the row, so that they would hold until the end.
    """

    rules: Mapping[str, Any]
    route: Recorded
    old: Row
    new: Row
    matcher: Matcher
    file: Path | None = None
    before: str = ""
    after: str = ""

    @property
    def yaml(self) -> str:
        """The rules as they are written below a route."""
        return "".join(f"{line}\n" for line in block({"match": self.rules}))


@define(eq=False)
class LiveRules:
    """Adds rules to the routes of a running service, and to its settings file.

    ``aside`` calls something on a thread: a settings file may have thousands of hosts.
    """

    changes: RouteChanges
    load: LoadSettings
    aside: Callable[[Callable[[], Any]], Awaitable[Any]]
    _writing: Lock = field(init=False, factory=Lock)

    async def candidate(self, route: Recorded, rules: Mapping[str, Any]) -> Candidate:
        """What rules would change. Raises ``ConfigError`` for invalid ones."""
        row = self.changes.row_of(route)
        if row is None:
            raise ConfigError("this route has no settings of its own")
        match = grown(row.match, rules)
        matcher = self.changes.matcher(route, row, match)
        if matcher.warnings:
            raise ConfigError("\n".join(matcher.warnings))
        made = Candidate(rules, route, row, evolve(row, match=match), matcher)
        file = self.changes.config.file
        if file is None:
            return made
        texts: tuple[str, str] | None = await self.aside(lambda: _texts(file, row, rules))
        if texts is None:
            return made
        before, after = texts
        return evolve(made, file=file, before=before, after=after)

    async def accept(self, candidate: Candidate) -> None:
        """Serve by the rules from now on, and write them. Raises ``BuffrError``."""
        self._check_unchanged(candidate)
        await self._replace(candidate, candidate.before, candidate.after, candidate.new)
        try:
            self._check_unchanged(candidate)
            await self.changes.change(candidate.route, candidate.new)
        except BaseException:
            await self._replace(candidate, candidate.after, candidate.before, candidate.old)
            raise

    def _check_unchanged(self, candidate: Candidate) -> None:
        if self.changes.row_of(candidate.route) is not candidate.old:
            raise ConfigError("the route was changed meanwhile", hint="try the rule again")

    async def undo(self, candidate: Candidate, route: Recorded) -> None:
        """Take the rules back; ``route`` is the one that has them now. Raises ``BuffrError``."""
        row = self.changes.row_of(route)
        if row is None or row.match != candidate.new.match:
            raise ConfigError(
                "its route has got other rules since", hint="undo those that came later first"
            )
        old = evolve(row, match=candidate.old.match)
        await self._replace(candidate, candidate.after, candidate.before, old)
        await self.changes.change(route, old)

    async def _replace(self, candidate: Candidate, before: str, after: str, row: Row) -> None:
        """Replace the text of the settings file, if it still is what it was."""
        file = candidate.file
        if file is not None:
            await self.aside(lambda: self._write(file, before, after, row))

    def _write(self, file: Path, before: str, after: str, row: Row) -> None:
        """Called on a thread; one at a time, or one would write over another's rules."""

        def check(new: Path) -> None:
            loaded = self.load(new)
            found = _row_in(loaded, row)
            if found is not None and found.match != row.match:
                raise ConfigError(
                    f"{file} does not describe this route alone",
                    hint="flags or variables come before it; add the rule there",
                )

        try:
            with self._writing:
                if file.read_bytes().decode() != before:
                    raise ConfigError(f"{file} was changed meanwhile", hint="try the rule again")
                replace_file(file, after, check)
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}") from error


def _texts(file: Path, row: Row, rules: Mapping[str, Any]) -> tuple[str, str] | None:
    """The text of a settings file without and with rules; ``None`` if it is not to have them."""
    try:
        before = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    after = _with(before, row, rules)
    return None if after is None else (before, after)


def _with(text: str, row: Row, rules: Mapping[str, Any]) -> str | None:
    """The text of a settings file with rules for a row; ``None`` if it does not have the row."""
    match row:
        case ForwardHost():
            return with_rules(text, row.host, rules)
        case GatewayRow():
            return with_rules_at(text, ("gateway", "routes", row.name), rules)
    number = row_at(text, "reverse", lambda given: _is_row(given, row))
    return None if number is None else with_rules_at(text, ("reverse", number), rules)


def _is_row(given: Mapping[str, str], row: Row) -> bool:
    """Whether the plain values of a row under ``reverse`` are those of this one."""
    assert not isinstance(row, ForwardHost)
    if row.target is None:
        return given.get("cassette") == str(row.cassette)
    try:
        target = TARGET.parse(Scalar("", given.get("target", "")))
    except Refused:
        return False
    port, cassette = str(getattr(row, "port", None)), str(row.cassette)
    if target != row.target or given.get("port", port) != port:
        return False
    return given.get("cassette", cassette) == cassette


def _row_in(config: Config, row: Row) -> Row | None:
    """The row of loaded settings that is this one, but for what was changed."""
    match row:
        case ForwardHost():
            return None if config.forward is None else config.forward.of(row.host)
        case GatewayRow():
            rows = () if config.gateway is None else config.gateway.routes
            return next((one for one in rows if one.name == row.name), None)
    same = [
        one
        for one in config.reverse
        if (one.target, one.port, one.cassette) == (row.target, row.port, row.cassette)
    ]
    return same[0] if same else None
