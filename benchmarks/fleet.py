"""``make fleet``: several buffrs with one Redis, under load, and with what may go wrong.

Each part prints what it promises and what it saw; the exit code is 1 if a
promise was broken. Costs are printed, and break nothing. It needs
``redis-server``, and ``wrk`` for the costs.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field

from benchmarks.process import free_port
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.protocol import BlockingConnection
from buffr.stores.redis.sets import Head, SetKeys, read_all
from buffr.testing import BuffrProcess

_PROCESSES = 4
_TICKS = os.sysconf("SC_CLK_TCK")


@define
class Upstream:
    """Answers each request with its path, after ``delay_s``, and keeps when each came."""

    delay_s: float = 0.0
    came: list[tuple[float, str]] = field(factory=list)
    port: int = 0
    asked: asyncio.Event = field(factory=asyncio.Event)

    async def start(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1]
                self.came.append((time.monotonic(), path.decode()))
                self.asked.set()
                await asyncio.sleep(self.delay_s)
                size = len(path) + 10
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nanswer to %b" % (size, path)
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
        except asyncio.CancelledError:
            """The run is over."""


@define(eq=False)
class Redis:
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+unix://{self.directory}/redis.sock"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--unixsocket", f"{self.directory}/redis.sock"),
                *("--dir", str(self.directory), "--save", "", "--appendonly", "yes"),
                *("--appendfsync", "always"),
            ],
            stdout=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@define(eq=False)
class Fleet:
    directory: Path
    upstream: Upstream
    redis: Redis
    stack: ExitStack
    broken: list[str] = field(factory=list)

    def start(self, settings: str = "", mode: str = "auto", prefix: str = "p") -> BuffrProcess:
        """A buffr with the store of all; ``settings`` are those of its only route."""
        file = self.directory / f"{free_port()}.yaml"
        store = f"{self.redis.url}?prefix={prefix}"
        target = f"http://127.0.0.1:{self.upstream.port}"
        file.write_text(
            f"admin: false\nreverse: [{{target: '{target}', port: 0, mode: {mode}, "
            f"store: '{store}'{settings and ', ' + settings}}}]\n"
        )
        arguments = ("serve", "--config", str(file))
        return self.stack.enter_context(BuffrProcess.run(*arguments, cwd=self.directory))

    def promise(self, what: str, *, kept: bool, saw: str) -> None:
        sys.stdout.write(f"{'kept  ' if kept else 'BROKEN'} {what}: {saw}\n")
        if not kept:
            self.broken.append(what)


async def get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"(?i)content-length: *(\d+)", head)
        body = await (reader.readexactly(int(size[1])) if size else reader.read())
        return int(head.split(b" ", 2)[1]), body
    finally:
        writer.close()


async def misses(fleet: Fleet) -> None:
    fleet.upstream.delay_s, fleet.upstream.came = 2.0, []
    running = [fleet.start(prefix="misses") for _ in range(_PROCESSES)]
    asked = [get(running[number % _PROCESSES].ports[0], "/same") for number in range(1000)]
    answers = Counter(await asyncio.gather(*asked))
    calls = len(fleet.upstream.came)
    fleet.promise(
        "1,000 identical misses over 4 processes are one call",
        kept=calls == 1 and answers == {(200, b"answer to /same"): 1000},
        saw=f"{calls} calls, answers {dict(answers)}",
    )
    fleet.upstream.delay_s = 0.0


async def holder_killed(fleet: Fleet) -> None:
    fleet.upstream.delay_s, fleet.upstream.came = 1.5, []
    fleet.upstream.asked.clear()
    running = [fleet.start(prefix="killed") for _ in range(_PROCESSES)]
    first = asyncio.ensure_future(get(running[0].ports[0], "/same"))
    await fleet.upstream.asked.wait()
    asked = [get(running[1 + number % 3].ports[0], "/same") for number in range(300)]
    rest = asyncio.gather(*asked)
    await asyncio.sleep(0.3)
    started = time.monotonic()
    running[0].process.kill()
    answers = Counter(await rest)
    took_s, calls = time.monotonic() - started, len(fleet.upstream.came)
    first.cancel()
    fleet.promise(
        "kill -9 of the process that calls: one other takes over",
        kept=calls == 2 and answers == {(200, b"answer to /same"): 300} and took_s < 10,
        saw=f"{calls} calls, answers {dict(answers)}, the last after {took_s:.1f} s",
    )
    fleet.upstream.delay_s = 0.0


async def limits(fleet: Fleet) -> None:
    count, seconds = 50, 8
    fleet.upstream.came = []
    settings = "limits: {per_second: 50, max_delay: 60s}"
    running = [fleet.start(settings, prefix="limits") for _ in range(_PROCESSES)]
    asked = [
        get(running[number % _PROCESSES].ports[0], f"/{number}")
        for number in range(count * seconds)
    ]
    statuses = Counter(status for status, _ in await asyncio.gather(*asked))
    came = sorted(at for at, _ in fleet.upstream.came)
    # In the first seconds this process, which is clients and upstream, has hundreds of
    # connections to make: it sees requests later than they left.
    came = [at for at in came if at > came[0] + 2]
    with BlockingConnection.to(RedisAddress.parse(fleet.redis.url)) as connection:
        (left,) = connection.ask("KEYS", "limits:{limit*:left")
        granted = [score / 1e6 for _, score in connection.ask("ZRANGE", left, 0, -1, "WITHSCORES")]
    whole_s = int(came[-1] - came[0])
    used = sum(at < came[0] + whole_s for at in came) / count / whole_s
    fleet.promise(
        "50 per second over 4 processes, by the server's clock",
        kept=_most_within(granted, 1.0) <= count and statuses == {200: count * seconds},
        saw=f"at most {_most_within(granted, 1.0)} in a window of the last ones; {dict(statuses)}",
    )
    fleet.promise(
        "at least 98 % of it is used",
        kept=used >= 0.98,
        saw=f"{used:.1%}; at the upstream at most {_most_within(came, 1.0)} came in a second, "
        f"{_most_within(came, 0.98)} in 0.98 s",
    )


def _most_within(moments: list[float], length_s: float) -> int:
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - length_s:
            first += 1
        most = max(most, last - first + 1)
    return most


async def outage(fleet: Fleet) -> None:
    """Kill Redis under load, let it return, and look whether something is wrong or lost."""
    running = [fleet.start(prefix="outage") for _ in range(_PROCESSES)]
    slowest, wrong, acknowledged, number = 0.0, 0, set[str](), 0
    ends = time.monotonic() + 8

    async def ask_on(each: BuffrProcess) -> None:
        nonlocal slowest, wrong, number
        while time.monotonic() < ends:
            number += 1
            path, started = f"/{number}", time.monotonic()
            try:
                status, body = await get(each.ports[0], path)
            except (OSError, asyncio.IncompleteReadError):
                status, body = 0, b""
            slowest = max(slowest, time.monotonic() - started)
            if (status, body) == (200, b"answer to " + path.encode()):
                acknowledged.add(path)
            else:
                wrong += 1

    loads = [asyncio.ensure_future(ask_on(each)) for each in running for _ in range(4)]
    await asyncio.sleep(2)
    fleet.redis.kill()
    await asyncio.sleep(2)
    fleet.redis.start()
    await asyncio.gather(*loads)
    lost = await _lost(fleet, "outage", acknowledged)
    fleet.promise(
        "kill -9 of Redis, and its return, under load",
        kept=not wrong and slowest < 4 and not lost,
        saw=f"{len(acknowledged)} answers, {wrong} wrong, the slowest {slowest:.2f} s, "
        f"{len(lost)} recordings lost",
    )


async def _lost(fleet: Fleet, prefix: str, acknowledged: set[str]) -> set[str]:
    """What was answered and is not recorded, once what was spooled is stored."""
    lost = acknowledged
    address = RedisAddress.parse(f"{fleet.redis.url}?prefix={prefix}")
    for _ in range(40):
        with BlockingConnection.to(address) as connection:
            keys = SetKeys(prefix, f"127.0.0.1_{fleet.upstream.port}")
            head = Head.of(connection.ask(*keys.read_head()))
            there = {one.request.target.decode() for one in read_all(connection, keys, head)}
        lost = acknowledged - there
        if not lost:
            break
        await asyncio.sleep(0.5)
    return lost


async def costs(fleet: Fleet) -> None:
    """A hit by store, and by the number of workers; the load takes a core's time, too."""
    if shutil.which("wrk") is None:
        sys.stdout.write("wrk is not installed: no costs\n")
        return
    redis = ("--store", f"{fleet.redis.url}?prefix=costs")
    always = fleet.directory / "always.yaml"
    always.write_text("redis: {staleness: 0s}\n")
    for name, *flags in (
        ("cassette", "--cassette", "costs.json"),
        ("redis, local copy", *redis),
        ("redis, asked each time", *redis, "--config", str(always)),
        ("redis, 1 process", *redis),
        ("redis, 2 workers", *redis, "--workers", "2"),
        ("redis, 4 workers", *redis, "--workers", "4"),
    ):
        target = f"http://127.0.0.1:{fleet.upstream.port}"
        command = ("auto", "--target", target, "--port", "0", "--admin", "false", *flags)
        with BuffrProcess.run(*command, cwd=fleet.directory) as running:
            await get(running.ports[0], "/costs")
            await _cost(name, running)


async def _cost(name: str, running: BuffrProcess) -> None:
    parent = running.process.pid
    pids = _children(parent) or [parent]
    before = [_processor_s(pid) for pid in pids]
    url = f"http://127.0.0.1:{running.ports[0]}/costs"
    wrk = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", "-c64", "-d3s", url), stdout=subprocess.PIPE
    )
    out, _ = await wrk.communicate()
    requests = int(re.search(rb"(\d+) requests in", out)[1])  # type: ignore[index]
    used = [_processor_s(pid) - start for pid, start in zip(pids, before, strict=True)]
    shares = ", ".join(f"{each / sum(used):.0%}" for each in used)
    sys.stdout.write(
        f"       {name}: {sum(used) / requests * 1e6:.1f} us of processor time a hit, "
        f"{requests / 3:,.0f}/s; shares of the processes {shares}\n"
    )


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


_PARTS: dict[str, Callable[[Fleet], Awaitable[None]]] = {
    "misses": misses,
    "holder-killed": holder_killed,
    "limits": limits,
    "outage": outage,
    "costs": costs,
}


async def _run(names: list[str]) -> int:
    with TemporaryDirectory(prefix="buffr-fleet-") as directory:
        upstream, redis = Upstream(), Redis(Path(directory))
        await upstream.start()
        redis.start()
        broken: list[str] = []
        try:
            for name in names or _PARTS:
                with ExitStack() as stack:
                    fleet = Fleet(Path(directory), upstream, redis, stack, broken)
                    await _PARTS[name](fleet)
        finally:
            redis.kill()
    return 1 if broken else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(asyncio.run(_run(sys.argv[1:])))
