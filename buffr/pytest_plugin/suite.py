"""A run of pytest as one of its processes sees it: the way to the proxy, and its tests."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buffr.pytest_plugin import network
from buffr.pytest_plugin.clients import proxied
from buffr.pytest_plugin.control import Caller, ControlError, Door, Local, Remote
from buffr.pytest_plugin.names import cassette_dir, cassette_name, file_name

if TYPE_CHECKING:
    from buffr.pytest_plugin.hub import Hub

__all__ = ["MODES", "RECORDING", "Recording", "Suite", "as_lines", "expected_cassette"]

MODES = ("auto", "record", "replay", "passthrough")
_SETTINGS = frozenset(
    (
        "end_of_stream",
        "fault_seed",
        "faults",
        "match",
        "record_statuses",
        "repeat",
        "replay_clock",
        "replay_delays",
        "replay_retry_after",
        "share",
        "websocket",
    )
)
_OTHERS = frozenset(("cassette", "mode", "block_network", "allowed_hosts"))


class Recording:
    """What a test has of buffr: the fixture ``buffr``."""

    def __init__(
        self, caller: Caller, scope: str, cassette: Path, mode: str, begun: Mapping[str, Any]
    ) -> None:
        self._caller = caller
        self._last: dict[str, Any] | None = None
        self.scope = scope
        self.cassette = cassette
        """The test's cassette; there is none before something was recorded."""
        self.mode = mode
        self.environ: Mapping[str, str] = begun["environ"]
        """The variables of the test's process, for children with an environment of their own."""
        self.ca_file = str(begun["ca"])
        """buffr's CA (PEM), for clients that read no variable."""
        self.proxy_url = f"http://{scope}:x@127.0.0.1:{begun['port']}"

    def url(self, upstream: str) -> str:
        """A base URL in the place of the upstream's: what it is asked belongs to this test."""
        return str(self._call("lead", url=upstream)["url"])

    @property
    def told(self) -> dict[str, Any]:
        """What became of the requests so far: ``hits``, ``live``, ``misses``, ``failures``."""
        return self._call("told") if self._last is None else self._last

    @property
    def misses(self) -> list[dict[str, str]]:
        """The requests that no recording answered, each with the reason as ``detail``."""
        return list(self.told["misses"])

    def _call(self, what: str, **more: Any) -> dict[str, Any]:
        return self._caller.call({"do": what, "scope": self.scope, **more})

    def end(self) -> None:
        """The test is over: its requests get no answer any more."""
        self._last = self._call("end")


RECORDING = pytest.StashKey[Recording]()


class Suite:
    """Starts the proxy when the first test needs it, or finds that of the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._caller: Caller | None = None
        self._numbers = itertools.count(1)
        self._given: dict[str, Any] | None = getattr(config, "workerinput", {}).get("buffr")
        self._worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self._starting = threading.Lock()
        self.hub: Hub | None = None
        self.door: Door | None = None

    def open_door(self) -> dict[str, Any]:
        """What a worker needs to find the proxy, which is started when one asks for it."""
        if self.door is None:
            self.door = Door(lambda message: self._proxy().answer(message))
        return {"port": self.door.port, "token": self.door.token}

    def _proxy(self) -> Hub:
        with self._starting:  # workers ask for it at the same time
            if self.hub is None:
                from buffr.pytest_plugin.hub import Hub  # noqa: PLC0415  # no test may need it

                settings = self._config.getini("buffr_config") or os.environ.get("BUFFR_CONFIG")
                self.hub = Hub(settings)
            return self.hub

    @property
    def used(self) -> bool:
        """Whether a test of this process has used the proxy."""
        return self._caller is not None

    def caller(self) -> Caller:
        """The way to the proxy. Raises ``ControlError``."""
        if self._caller is None:
            if self._given is None:
                self._caller = Local(lambda message: self._proxy().answer(message))
            else:
                self._caller = Remote(self._given["port"], self._given["token"])
        return self._caller

    @contextmanager
    def recording(
        self,
        item: pytest.Item,
        cassette: Path,
        mode: str,
        **message: Any,
    ) -> Iterator[Recording]:
        """A scope for a test, whose clients use the proxy meanwhile."""
        scope = f"{self._worker}-{next(self._numbers)}"
        try:
            caller = self.caller()
            begun = caller.call(
                {
                    "do": "begin",
                    "scope": scope,
                    "test": item.nodeid,
                    "cassette": str(cassette),
                    "mode": mode,
                    **message,
                }
            )
        except ControlError as error:
            raise pytest.UsageError(f"{item.nodeid}: buffr: {error}") from None
        network.allowed.add(("127.0.0.1", begun["port"]))
        recording = Recording(caller, scope, cassette, mode, begun)
        item.stash[RECORDING] = recording
        try:
            with proxied(begun["environ"], begun["ca"]):
                yield recording
        finally:
            recording.end()

    def close(self) -> None:
        """Stop the proxy, if this process has it."""
        if self.door is not None:
            self.door.close()
        if self.hub is not None:
            self.hub.close()

    def mode(self, marked: str | None) -> str:
        """How a test's requests are answered.

        ``replay`` wins: that of a mark, so that no option records such a test
        anew; that of an option, variable or CI, so that nothing is recorded there.
        """
        told = self._config.getoption("buffr_mode") or os.environ.get("BUFFR_MODE")
        if not told and os.environ.get("CI", "").lower() in {"true", "1"}:
            told = "replay"
        general = told or self._config.getini("buffr_mode") or "auto"
        if general not in MODES:
            raise pytest.UsageError(f"buffr: mode {general!r} must be one of {', '.join(MODES)}")
        if marked is None or (told == "replay" and marked != "passthrough"):
            return str(general)
        if marked not in MODES:
            raise pytest.UsageError(f"buffr: mode {marked!r} must be one of {', '.join(MODES)}")
        return marked if marked in {"replay", "passthrough"} or not told else str(told)


def marked(item: pytest.Item) -> dict[str, Any]:
    """What the marks of a test say, those nearest to it over others. Raises ``UsageError``."""
    values: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("buffr"))):
        unknown = sorted(mark.kwargs.keys() - _SETTINGS - _OTHERS)
        if unknown or mark.args:
            named = ", ".join([*unknown, *map(repr, mark.args)])
            allowed = ", ".join(sorted(_SETTINGS | _OTHERS))
            raise pytest.UsageError(
                f"{item.nodeid}: pytest.mark.buffr does not take {named}; it takes {allowed}"
            )
        values.update(mark.kwargs)
    return values


def settings_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a mark's values that are settings of a route."""
    return {name: value for name, value in values.items() if name in _SETTINGS}


def expected_cassette(item: pytest.Item, values: Mapping[str, Any]) -> Path:
    """Where a test's cassette is: by its mark, relative to the module's directory, or its name."""
    directory = cassette_dir(item, item.config.getoption("buffr_dir") or _ini_dir(item.config))
    named = values.get("cassette")
    if named is not None:
        return directory / str(named)
    return directory / file_name(cassette_name(item), ".json")


def _ini_dir(config: pytest.Config) -> str | None:
    return config.getini("buffr_dir") or None


def as_lines(told: Mapping[str, Any]) -> str:
    """Misses and failures for people, each with its reason below it."""
    lines = [f"cassette {told['cassette']} (mode {told['mode']})"]
    for word, rows in (("miss", told["misses"]), ("failed", told["failures"])):
        for row in rows:
            lines.append(f"{word}: {row['request']}")
            lines += [f"  {line}" for line in row["detail"].splitlines()]
    return "\n".join(lines)


def as_json(tapes: list[dict[str, Any]], orphaned: list[str] | None) -> str:
    """The report for programs."""
    report = {"version": 1, "tests": tapes, "orphaned": orphaned}
    return json.dumps(report, indent=2) + "\n"
