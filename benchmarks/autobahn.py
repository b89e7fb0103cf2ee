"""``python -m benchmarks.autobahn --wstest PATH [cases]``: Autobahn's cases, direct and by buffr.

Each case is run twice, once with buffr between the two ends; exit code 1 when
one comes out worse that way, three times over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.process import Failed, Process, free_port

__all__ = ["main"]

_DIRECT, _BUFFR = "direct", "buffr"
_RANKS = ("OK", "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT", "UNCLEAN", "WRONG CODE", "FAILED")
_CORE = 0
_TURNS = 3
_MESSAGE_BYTES = 1 << 25

Verdicts = dict[str, dict[str, str]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autobahn", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help="such as 1.* or 12.2.17")
    parser.add_argument("--wstest", default=shutil.which("wstest"), help="Autobahn's program")
    parser.add_argument("--side", choices=sorted(_SIDES), action="append", help="by default both")
    parser.add_argument("--mode", choices=("record", "passthrough"), default="record")
    parser.add_argument("--reports", type=Path, help="a directory to leave Autobahn's reports in")
    options = parser.parse_args()
    if options.wstest is None:
        parser.error("wstest is not on the path; docs/benchmarks.md says where it comes from")
    worse = 0
    for side in options.side or sorted(_SIDES):
        try:
            worse += len(_worse(side, options))
        except (Failed, OSError) as error:
            sys.stderr.write(f"{side} failed: {error}\n")
            return 1
    return 1 if worse else 0


def _worse(side: str, options: argparse.Namespace) -> list[str]:
    """The cases that come out worse by way of buffr each time.

    Some turn on the timing of the two ends, and vary without buffr too.
    """
    cases = options.cases or ["*"]
    for turn in range(1, _TURNS + 1):
        with TemporaryDirectory(prefix="buffr-autobahn-") as directory:
            suite = _Suite(options.wstest, cases, options.mode, Path(directory))
            verdicts = _SIDES[side](suite)
            if options.reports is not None:
                shutil.copytree(suite.reports, options.reports / f"{side}-{turn}")
        for agent in (_DIRECT, _BUFFR):
            found = Counter(one["behavior"] for one in verdicts[agent].values())
            sys.stdout.write(f"{side}, {agent}: {dict(found)}\n")
        cases = [each for each in verdicts[_DIRECT] if _is_worse(each, verdicts)]
        if not cases:
            break
    for case in cases:
        sys.stdout.write(f"{side}, case {case}: worse by way of buffr\n")
    return cases


def _is_worse(case: str, verdicts: dict[str, Verdicts]) -> bool:
    direct, ours = verdicts[_DIRECT][case], verdicts[_BUFFR].get(case, {})
    return any(
        _RANKS.index(ours.get(what, "FAILED")) > _RANKS.index(direct[what])
        for what in ("behavior", "behaviorClose")
    )


class _Suite:
    """Where wstest is, what it is to run, and the servers around it."""

    def __init__(self, wstest: str, cases: list[str], mode: str, directory: Path) -> None:
        self._wstest = wstest
        self._cases = cases
        self._mode = mode
        self._directory = directory
        self.reports = directory / "reports"

    def specification(self, **more: object) -> Path:
        path = self._directory / "cases.json"
        everything = {"outdir": str(self.reports), "cases": self._cases}
        nothing = {"exclude-cases": [], "exclude-agent-cases": {}}
        path.write_text(json.dumps({**everything, **nothing, **more}))
        return path

    def command(self, mode: str, specification: Path) -> list[str]:
        return [self._wstest, "--mode", mode, "--spec", str(specification)]

    def client(self, specification: Path) -> None:
        """Run the suite's client to its end."""
        command = self.command("fuzzingclient", specification)
        with (self._directory / "wstest.log").open("wb") as log:
            done = subprocess.run(command, cwd=self._directory, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise Failed(f"wstest ended with {done.returncode}")

    @contextmanager
    def server(self, name: str, command: list[str], port: int) -> Iterator[Process]:
        directory = self._directory / name
        directory.mkdir()
        server = Process(name, command, port=port, core=_CORE, directory=directory)
        try:
            server.wait()
            yield server
        finally:
            server.stop()

    @contextmanager
    def buffr(self, target: str) -> Iterator[str]:
        """Put buffr before a server; its URL."""
        port = free_port()
        command = [sys.executable, "-m", "buffr", "serve", "--mode", self._mode]
        command += ["--target", target, "--port", str(port), "--cassette", "c.json"]
        with self.server("buffr", command, port):
            yield f"ws://127.0.0.1:{port}"

    def verdicts(self) -> dict[str, Verdicts]:
        found: dict[str, Verdicts] = json.loads((self.reports / "index.json").read_text())
        return found


def _servers(suite: _Suite) -> dict[str, Verdicts]:
    """The suite is the client of an echo by ``websockets``."""
    with ExitStack() as stack:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.autobahn", "echo", str(port)]
        echo = stack.enter_context(suite.server("echo", command, port))
        relayed = stack.enter_context(suite.buffr(echo.url))
        direct = {"agent": _DIRECT, "url": f"ws://127.0.0.1:{port}"}
        servers = [direct, {"agent": _BUFFR, "url": relayed}]
        suite.client(suite.specification(servers=servers))
    return suite.verdicts()


def _clients(suite: _Suite) -> dict[str, Verdicts]:
    """The suite is the server of a client by ``websockets``."""
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    command = suite.command("fuzzingserver", suite.specification(url=url))
    with suite.server("wstest", command, port) as server, suite.buffr(server.url) as relayed:
        asyncio.run(_all_cases({_DIRECT: url, _BUFFR: relayed}))
    return suite.verdicts()


_SIDES: dict[str, Callable[[_Suite], dict[str, Verdicts]]] = {
    "client": _clients,
    "server": _servers,
}


async def _all_cases(urls: dict[str, str]) -> None:
    async with connect(f"{urls[_DIRECT]}/getCaseCount", proxy=None) as asking:
        cases = int(await asking.recv())
    for agent, url in urls.items():
        for case in range(1, cases + 1):
            await _one_case(f"{url}/runCase?case={case}&agent={agent}")
    # By way of buffr these would be recorded too; the server's answer is the same.
    for agent in urls:
        async with connect(f"{urls[_DIRECT]}/updateReports?agent={agent}", proxy=None):
            pass


async def _one_case(url: str) -> None:
    with contextlib.suppress(ConnectionClosed):
        async with connect(url, max_size=_MESSAGE_BYTES, ping_interval=None, proxy=None) as client:
            async for message in client:
                await client.send(message)


async def _echo(port: int) -> None:
    async def send_back(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with serve(
        send_back, "127.0.0.1", port, max_size=_MESSAGE_BYTES, ping_interval=None
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] == ["echo"]:
        asyncio.run(_echo(int(sys.argv[2])))
    else:
        sys.exit(main())
