"""A cassette that one release of an SDK recorded, replayed by another.

`make sdk-upgrades` runs this; `pytest` alone does not find it. Each release is
installed into a scratch environment by uv. The replaying client asks through a
relay that adds trace ids, retry counters and another user agent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from answers import api
from attrs import define, field, frozen
from relay import NoisyRelay
from releases import SDKS, Release, Sdk

from buffr.testing import BuffrProcess, FakeUpstream

CLIENTS = Path(__file__).parent / "clients"
UV = os.environ.get("UV", "uv")
SUBSTITUTE = "the recording of another variant answers"


@frozen
class Outcome:
    """What came of a client's calls, by name."""

    results: dict[str, str]
    failed: dict[str, str]


@frozen
class Row:
    """A line of the table."""

    sdk: str
    old: str
    new: str
    calls: int
    misses: int
    warnings: int
    others: int = 0


@define
class Table:
    """What was found, printed at the end."""

    rows: list[Row] = field(factory=list)

    def add(self, name: str, old: str, new: str, got: Replayed, others: Collection[str]) -> None:
        """A line for what was replayed, and each warning of it."""
        calls, misses = len(got.outcome.results), len(got.relay.misses)
        self.rows.append(
            Row(name, old, new, calls, misses - len(others), len(got.warnings), len(others))
        )
        sys.stdout.writelines(got.warnings)

    def text(self) -> str:
        head = ("SDK", "recorded", "replayed", "calls", "misses", "warnings", "other requests")
        lines = [tuple(map(str, (row.sdk, row.old, row.new, row.calls, row.misses, row.warnings,
                                 row.others))) for row in self.rows]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in (head, *lines)
        )


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    table = Table()
    yield table
    sys.stdout.write(f"\n\n{table.text()}\n")


def outcome(command: Sequence[str], url: str) -> Outcome:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [*command, url], check=False, capture_output=True, text=True, timeout=300, cwd=CLIENTS,
        env={**environment, "AWS_EC2_METADATA_DISABLED": "true", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"call"')]
    assert lines, done.stderr
    by_name = {line["call"]: str(line["result"]) for line in lines}
    failed = {line["call"]: str(line["result"]) for line in lines if line["failed"]}
    return Outcome(by_name, failed)


def python(release: Release, script: str) -> list[str]:
    pins = [word for pin in release.pins for word in ("--with", pin)]
    options = ("--quiet", "--no-project", "--python", sys.executable)
    return [UV, "run", *options, *pins, "python", "-W", "ignore", script]


ARGUMENTS = ("--port", "0", "--cassette", "api.json")


def record(command: Sequence[str], directory: Path) -> Outcome:
    """The calls of a client in mode auto, with an upstream."""
    with (
        FakeUpstream(api) as upstream,
        BuffrProcess.run("auto", "--target", upstream.url, *ARGUMENTS, cwd=directory) as buffr,
    ):
        return outcome(command, buffr.url)


@frozen
class Replayed:
    outcome: Outcome
    relay: NoisyRelay
    warnings: list[str]


def replay(command: Sequence[str], directory: Path, *, retried: bool = False) -> Replayed:
    """The calls of a client in mode replay, with noise and without an upstream."""
    with BuffrProcess.run("replay", *ARGUMENTS, cwd=directory) as buffr:
        relay = NoisyRelay(buffr.ports[0], retried)
        with FakeUpstream(relay) as front:
            got = outcome(command, front.url)
    warnings = [line for line in buffr.output if SUBSTITUTE in line]
    return Replayed(got, relay, warnings)


def keep(name: str, release: str, cassette: Path) -> None:
    """Keep a cassette where ``KEEP`` says."""
    directory = os.environ.get("KEEP")
    if directory:
        kept = Path(directory) / f"{name}-{release}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(cassette.read_bytes())


class TestUpgrades:
    @pytest.mark.parametrize("upgrade", [True, False], ids=["upgrade", "downgrade"])
    @pytest.mark.parametrize("sdk", SDKS, ids=str)
    def test_another_release_replays(
        self, tmp_path: Path, table: Table, sdk: Sdk, *, upgrade: bool
    ) -> None:
        first, second = (sdk.old, sdk.new) if upgrade else (sdk.new, sdk.old)
        recorded = record(python(first, sdk.script), tmp_path)
        assert not recorded.failed, "\n".join(recorded.failed.values())
        keep(sdk.name, first.version, tmp_path / "api.json")
        again = replay(python(second, sdk.script), tmp_path, retried=sdk.retries)
        others = again.outcome.failed.keys() & sdk.others.keys()
        table.add(sdk.name, first.version, second.version, again, others)
        told = "\n".join((*again.relay.misses.values(), *again.outcome.failed.values()))
        assert again.outcome.failed.keys() == others, told
        assert len(again.relay.misses) == len(others), told
        for name in recorded.results.keys() - others:
            assert again.outcome.results[name] == recorded.results[name], name


NODE = Path(__file__).parent / "node"
GO = Path(__file__).parent / "go" / "calls.go"
PYTHON = Release(("openai==3.57.0", "anthropic==2.14.0", "stripe==16.1.0", "requests==2.34.2"))


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The client with its SDKs, installed by npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    directory = tmp_path_factory.mktemp("node")
    shutil.copytree(NODE, directory, dirs_exist_ok=True)
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run(["npm", "install", *quiet], cwd=directory, check=True, timeout=300)
    return ["node", str(directory / "calls.mjs")]


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The client, compiled."""
    command = os.environ.get("GO", "go")
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    directory = tmp_path_factory.mktemp("go")
    program = directory / "calls"
    environment = {**os.environ, "GO111MODULE": "off", "GOCACHE": str(directory / "cache")}
    build = [command, "build", "-o", str(program), str(GO)]
    subprocess.run(build, check=True, timeout=300, env=environment)
    return [str(program)]


class TestLanguages:
    @pytest.mark.parametrize("client", ["node", "go"])
    def test_what_python_recorded(
        self, tmp_path: Path, table: Table, request: pytest.FixtureRequest, client: str
    ) -> None:
        command: list[str] = request.getfixturevalue(client)
        recorded = record(python(PYTHON, "across.py"), tmp_path)
        assert not recorded.failed, "\n".join(recorded.failed.values())
        again = replay(command, tmp_path)
        table.add("one API", "Python", client, again, set())
        told = "\n".join((*again.relay.misses.values(), *again.outcome.failed.values()))
        assert again.outcome.results.keys() == recorded.results.keys()
        assert not again.outcome.failed, told
