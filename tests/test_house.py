"""The house: which room may know which, and which rooms know nothing of reactors and clocks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import buffr

_ROOT = Path(buffr.__file__).parent

ROOMS = (
    "buffr.__main__",
    "buffr.pytest_plugin",
    "buffr.commands",
    "buffr.container",
    "buffr.api_buddy",
    "buffr.embedded",
    "buffr.testing",
    "buffr.wiring",
    "buffr.interchange",
    "buffr.admin",
    "buffr.config",
    "buffr.isolate",
    "buffr.listeners",
    "buffr.refreshing",
    "buffr.exchanges",
    "buffr.policy",
    "buffr.drift",
    "buffr.recording",
    "buffr.clock",
    "buffr.tls",
    "buffr.stores",
    "buffr.matching",
    "buffr.redaction",
    "buffr.upstream",
    "buffr.log",
    "buffr.transport",
    "buffr.formats",
    "buffr.wire",
    "buffr.origin",
    "buffr.hooks",
    "buffr.interaction",
    "buffr.message",
    "buffr.errors",
    "buffr",
)
"""From top to bottom. A module belongs to the longest name here that it begins with."""

PURE = (
    "buffr.config",
    "buffr.drift",
    "buffr.exchanges.ages",
    "buffr.exchanges.metrics",
    "buffr.exchanges.playhead",
    "buffr.isolate.dns",
    "buffr.isolate.first_bytes",
    "buffr.isolate.ledger",
    "buffr.isolate.loopback",
    "buffr.isolate.names",
    "buffr.isolate.netlink",
    "buffr.isolate.packets",
    "buffr.isolate.switches",
    "buffr.policy",
    "buffr.recording",
    "buffr.clock",
    "buffr.matching",
    "buffr.redaction",
    "buffr.stores.cache",
    "buffr.stores.cassette.checks",
    "buffr.stores.cassette.fields",
    "buffr.stores.cassette.format",
    "buffr.stores.cassette.records",
    "buffr.stores.cassette.requests",
    "buffr.stores.cassette.sessions",
    "buffr.stores.cassette.text",
    "buffr.stores.cassette.reason_phrases",
    "buffr.stores.fleet",
    "buffr.stores.redis.address",
    "buffr.stores.writable",
    "buffr.transport.memo",
    "buffr.transport.sink",
    "buffr.transport.spool",
    "buffr.formats",
    "buffr.wire",
    "buffr.origin",
    "buffr.hooks",
    "buffr.interaction",
    "buffr.message",
    "buffr.errors",
)
"""Rooms whose time and chance come in as arguments."""

IMPURE_MODULES = frozenset(("twisted", "OpenSSL", "time", "socket", "random"))

FOR_ITS_TYPES = frozenset(
    (
        ("buffr.recording.http", "buffr.transport.streams"),
        ("buffr.exchanges.ages", "buffr.stores.base"),
    )
)
"""Pure modules and what they import although it is not pure: only a Protocol of it."""

WIRING = (
    "buffr.commands",
    "buffr.pytest_plugin",
    "buffr.embedded",
    "buffr.testing",
    "buffr.interchange",
    "buffr.wiring",
)
"""Where concrete stores are known; everybody else knows their ports."""


PORTS = frozenset(
    (
        "buffr.stores.base",
        "buffr.stores.cache",
        "buffr.stores.fleet",
        "buffr.stores.redis.address",
        "buffr.stores.writable",
    )
)
"""What the other rooms may know of stores: their protocols, the address of a server, and whether
a file can be written."""


@cache
def modules() -> tuple[str, ...]:
    """Every module of the package."""
    names = []
    for path in sorted(_ROOT.rglob("*.py")):
        parts = path.relative_to(_ROOT.parent).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(names)


def _path(module: str) -> Path:
    path = _ROOT.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imported(module: str) -> frozenset[str]:
    """The modules that a module imports, at its top or inside a function."""
    return frozenset(_imports(ast.parse(_path(module).read_text("utf-8")), frozenset(modules())))


def _imports(tree: ast.AST, ours: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in ours else node.module for name in inner)


def within(module: str, rooms: tuple[str, ...]) -> str | None:
    """The longest of these names that the module is or begins with."""
    fitting = [room for room in rooms if module == room or module.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


def rank(module: str) -> int:
    """How far down the module's room is."""
    room = within(module, ROOMS)
    assert room is not None
    return ROOMS.index(room)


class TestPlan:
    """A loop over the modules, not a parameter: each test would cost more than its check."""

    def test_every_module_has_its_room(self) -> None:
        """A new module belongs to a room, or its room gets a place in the list above."""
        assert [name for name in modules() if within(name, ROOMS) in {None, "buffr"}] == ["buffr"]

    def test_every_room_exists(self) -> None:
        """The list tells of nothing that was moved or taken away."""
        assert [room for room in ROOMS if not _path(room).exists()] == []


class TestDirection:
    def test_imports_point_downwards(self) -> None:
        """A room knows itself and those below it."""
        upward = [
            f"{module} imports {name}"
            for module in modules()
            for name in imported(module)
            if within(name, ("buffr",)) and rank(name) < rank(module)
        ]
        assert upward == []

    def test_stores_are_known_by_their_port(self) -> None:
        """Only where things are put together is it known which store there is."""
        known = [
            f"{module} imports {name}"
            for module in modules()
            if within(module, (*WIRING, "buffr.stores")) is None
            for name in imported(module) - PORTS
            if within(name, ("buffr.stores",))
        ]
        assert known == []


class TestPurity:
    def test_no_reactor_no_clock_no_chance(self) -> None:
        """A pure module imports nothing that acts, waits or surprises."""
        impure = [
            f"{module} imports {name}"
            for module in modules()
            if within(module, PURE)
            for name in imported(module)
            if name.split(".")[0] in IMPURE_MODULES
        ]
        assert impure == []

    def test_it_stands_on_what_is_pure(self) -> None:
        """Nor does it import one that does, other than for a type."""
        others = {
            (module, name)
            for module in modules()
            if within(module, PURE)
            for name in imported(module)
            if within(name, ("buffr",)) and name != "buffr" and within(name, PURE) is None
        }
        assert others <= FOR_ITS_TYPES
