"""Suites written for pytest-recording: its marks, fixtures and options, with buffr behind them.

They mean what they mean in pytest-recording 0.14. ``docs/how-to/pytest.md`` has the table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from buffr.pytest_plugin import _suite as suite_of
from buffr.pytest_plugin.names import cassette_name, file_name
from buffr.pytest_plugin.network import blocked
from buffr.pytest_plugin.suite import Recording

__all__ = ["expected_of"]

RECORD_MODES = ("once", "new_episodes", "none", "all", "rewrite")
_MATCH_ON = {
    "method": ("method",),
    "scheme": ("scheme",),
    "host": ("host",),
    "port": ("port",),
    "path": ("path",),
    "query": ("query",),
    "uri": ("scheme", "host", "port", "path", "query"),
    "body": ("body",),
    "raw_body": ("body",),
}
_TAKEN = frozenset(
    (
        *("record_mode", "match_on", "allow_playback_repeats", "allowed_hosts"),
        *("filter_headers", "filter_query_parameters", "filter_post_data_parameters"),
        *("ignore_hosts", "ignore_localhost"),
    )
)
_WITHOUT_MEANING = frozenset(("decode_compressed_response", "record_on_exception", "serializer"))
_LOCALHOST = ("localhost", "127.0.0.1", "::1")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("recording", "buffr in the place of pytest-recording")
    group.addoption("--record-mode", default=None, choices=RECORD_MODES, help="as VCR.py has it")
    group.addoption("--block-network", action="store_true", default=False, help="but to record")
    group.addoption("--allowed-hosts", default=None, help="regular expressions, by commas")
    group.addoption("--disable-recording", action="store_true", default=False, help="ask live")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vcr: record and replay the test's requests")
    config.addinivalue_line("markers", "block_network: refuse connections but those to record")
    config.addinivalue_line("markers", "default_cassette(name): another name for the cassette")
    config.addinivalue_line("markers", "allowed_hosts: regular expressions of hosts to reach")


@pytest.fixture(scope="session")
def record_mode(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--record-mode") or "none")


@pytest.fixture(scope="session")
def disable_recording(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--disable-recording"))


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    return {}


@pytest.fixture
def vcr_markers(request: pytest.FixtureRequest) -> list[pytest.Mark]:
    return list(request.node.iter_markers(name="vcr"))


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    module = request.path
    return str(module.parent / "cassettes" / module.stem)


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    return _default_name(request.node)


@pytest.fixture
def allowed_hosts(request: pytest.FixtureRequest) -> list[str]:
    mark = request.node.get_closest_marker("block_network")
    config = request.getfixturevalue("vcr_config")
    hosts = (
        (mark.kwargs.get("allowed_hosts") if mark else None)
        or request.config.getoption("--allowed-hosts")
        or config.get("allowed_hosts")
        or ()
    )
    return hosts.split(",") if isinstance(hosts, str) else list(hosts)


@pytest.fixture(autouse=True)
def block_network(
    request: pytest.FixtureRequest, record_mode: str, vcr_markers: list[pytest.Mark]
) -> Iterator[None]:
    mark = request.node.get_closest_marker("block_network")
    if mark is not None and (mark.args or mark.kwargs.keys() - {"allowed_hosts"}):
        raise pytest.UsageError("pytest.mark.block_network takes allowed_hosts alone")
    if vcr_markers and request.config.getoption("--record-mode") is None:
        record_mode = _mode_of(request, _merged(request, vcr_markers))
    asked = mark or request.config.getoption("--block-network")
    if asked and (not vcr_markers or record_mode == "none"):
        with blocked(request.getfixturevalue("allowed_hosts")):
            yield
    else:
        yield


class Cassette:
    """What a test may ask of its cassette, as of VCR.py's."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    @property
    def play_count(self) -> int:
        return int(self.recording.told["hits"])

    @property
    def dirty(self) -> bool:
        """Whether something was recorded."""
        return bool(self.recording.told["live"])


@pytest.fixture(autouse=True)
def vcr(
    request: pytest.FixtureRequest,
    vcr_markers: list[pytest.Mark],
    vcr_cassette_dir: str,
    disable_recording: bool,  # noqa: FBT001  # a fixture
) -> Iterator[Cassette | None]:
    if disable_recording or not vcr_markers:
        yield None
        return
    values = _merged(request, vcr_markers)
    mode = _mode_of(request, values)
    name = request.getfixturevalue("default_cassette_name")
    directory = Path(vcr_cassette_dir)
    old = directory / file_name(name, ".yaml")
    new = directory / file_name(name, ".json")
    extra = [Path(os.path.normpath(directory / path)) for mark in vcr_markers for path in mark.args]
    cassette, buffrs, merged = _placed(old, new, extra, mode)
    if cassette == new and old.exists() and buffrs != "replay":
        _say(request.config, f"{old} stays as it is; buffr records into {new.name} beside it")
    message = {
        "settings": _settings(request.node, values),
        "redact": {
            "headers": _names(values, "filter_headers"),
            "query": [
                *_names(values, "filter_query_parameters"),
                *_names(values, "filter_post_data_parameters"),
            ],
        },
        "passed": [
            *values.get("ignore_hosts", ()),
            *(_LOCALHOST if values.get("ignore_localhost") else ()),
        ],
        "merged": [str(path) for path in merged],
    }
    with suite_of(request.config).recording(request.node, cassette, buffrs, **message) as found:
        yield Cassette(found)


def _placed(old: Path, new: Path, extra: list[Path], mode: str) -> tuple[Path, str, list[Path]]:
    """The cassette, buffr's mode, and the files that are read as one where there are several.

    What buffr has recorded counts before what was there.
    """
    there = [path for path in (new, old) if path.exists()][:1]
    match mode:
        case "all" | "rewrite":
            return new, "record", []
        case "new_episodes":
            return new, "auto", [] if new.exists() or not old.exists() else [old]
        case "once" if not there:
            return new, "auto", []
    cassette = there[0] if there else old
    merged = [cassette, *extra] if extra else []
    return cassette, "replay", merged


def _merged(request: pytest.FixtureRequest, marks: list[pytest.Mark]) -> dict[str, Any]:
    """``vcr_config`` under what the marks say, the nearest one on top. Raises ``UsageError``."""
    values: dict[str, Any] = deepcopy(request.getfixturevalue("vcr_config"))
    for mark in reversed(marks):
        values.update(mark.kwargs)
    refused = sorted(values.keys() - _TAKEN - _WITHOUT_MEANING)
    if refused:
        raise pytest.UsageError(
            f"{request.node.nodeid}: buffr_compat = vcr has no {', '.join(refused)}; "
            "docs/how-to/pytest.md says what takes its place"
        )
    if values.get("serializer", "yaml") != "yaml":
        raise pytest.UsageError(f"{request.node.nodeid}: buffr_compat = vcr reads YAML alone")
    return values


def _mode_of(request: pytest.FixtureRequest, values: Mapping[str, Any]) -> str:
    """As pytest-recording has it: what the fixture or a mark says wins over the option.

    A strict replay that buffr is told by its own option or variable wins over both.
    """
    config = request.config
    if "replay" in (config.getoption("buffr_mode"), os.environ.get("BUFFR_MODE")):
        return "none"
    given = config.getoption("--record-mode")
    mode = str(values.get("record_mode", given or "none"))
    if mode not in RECORD_MODES:
        raise pytest.UsageError(f"record_mode {mode!r} must be one of {', '.join(RECORD_MODES)}")
    return mode


def _settings(item: pytest.Item, values: Mapping[str, Any]) -> dict[str, Any]:
    """How requests are compared, as settings of a route. Raises ``UsageError``."""
    match: dict[str, Any] = {"preset": "vcr"}
    if "match_on" in values:
        unknown = [str(name) for name in values["match_on"] if name not in _MATCH_ON]
        if unknown:
            raise pytest.UsageError(
                f"{item.nodeid}: buffr_compat = vcr has no match_on {', '.join(unknown)}"
            )
        match["on"] = [part for name in values["match_on"] for part in _MATCH_ON[name]]
    query = _names(values, "filter_query_parameters")
    form = _names(values, "filter_post_data_parameters")
    match |= {key: names for key, names in (("query", query), ("form", form)) if names}
    repeats = values.get("allow_playback_repeats")
    return {"match": match, **({"repeat": "cycle"} if repeats else {})}


def _names(values: Mapping[str, Any], key: str) -> list[str]:
    """Names alone, or each with what VCR.py would put in its place."""
    return [one if isinstance(one, str) else str(one[0]) for one in values.get(key) or ()]


def _default_name(item: pytest.Item) -> str:
    mark = item.get_closest_marker("default_cassette")
    if mark is None:
        return cassette_name(item)
    if not mark.args:
        raise pytest.UsageError("pytest.mark.default_cassette takes the name of a cassette")
    return re.sub(r"\.ya?ml$", "", str(mark.args[0]))


def expected_of(item: pytest.Item, _: Mapping[str, Any]) -> Path:
    """Where a test's cassette is, in the default directory."""
    directory = item.path.parent / "cassettes" / item.path.stem
    return directory / file_name(_default_name(item), ".yaml")


def _say(config: pytest.Config, line: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"buffr: {line}")
