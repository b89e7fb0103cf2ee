"""One session of ``buffr mcp``: the lines of a client, and who answers them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from attrs import define, evolve, field
from twisted.internet import reactor as _installed
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import LogLevel, globalLogBeginner

from buffr.commands.mcp.line_sink import Connection, LineSink
from buffr.commands.run.child import CannotStart
from buffr.commands.run.proxied import RunLog
from buffr.config import Config
from buffr.errors import BuffrError, ConfigError
from buffr.exchanges.route import Recorded
from buffr.formats.jsonrpc import Message, messages
from buffr.interaction import HTTPInteraction
from buffr.log import say
from buffr.message import Request
from buffr.recording.stdio import (
    INITIALIZED,
    PATH,
    StdioTranscript,
    request_headers,
)
from buffr.wiring.build import build
from buffr.wiring.service import BuffrService

__all__ = ["record", "replay"]

_BLOCK_BYTES = 65536
_LONGEST_LINE = 64 << 20
_MISS = -32001
"""An error code of the range that JSON-RPC leaves to servers."""
_OF_SIGNALS = 128
_END_S = 5.0
"""How long answers may take once the client has said everything."""


class _Nobody:
    """What is noted of requests that never became one: there are none here."""

    def refused(self, status: str, why: str) -> None:
        """Nothing is refused."""

    def without_tls(self, host: str, why: str) -> None:
        """There is no TLS."""


def _service(config: Config, stream: TextIO) -> tuple[BuffrService, Recorded]:
    """The service of this session, opened, and its route. Raises a ``BuffrError``."""
    log = RunLog(stream, config.log_format, _Nobody(), all_of_it=stream is not sys.stderr)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    service = build(config, _installed, on_console=False)
    service.open()
    (route,) = service.reverse_routes
    assert isinstance(route, Recorded)
    return service, route


def _serve(service: BuffrService, begin: Callable[[], None]) -> None:
    """Run the reactor until something stops it, and finish all work."""
    reactor: Any = _installed
    ending: list[Deferred[Any]] = []

    def end() -> Deferred[Any]:
        ending.append(service.stopService())
        return ending[0]

    reactor.addSystemEventTrigger("before", "shutdown", end)
    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)


@define(eq=False)
class _Lines:
    """Divides bytes into lines, without their ends; a line that is too long is left out."""

    _held: bytearray = field(factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        *whole, rest = data.split(b"\n")
        for part in whole:
            line, skipped = bytes(self._held + part), self._skipping
            self._held.clear()
            self._skipping = False
            if not skipped and (line := line.removesuffix(b"\r")):
                yield line
        self._held += rest
        if len(self._held) > _LONGEST_LINE:
            self._held.clear()
            self._skipping = True


def _read(fd: int) -> Iterator[bytes]:
    """What comes on a file descriptor, until its end. Blocks."""
    try:
        while data := os.read(fd, _BLOCK_BYTES):
            yield data
    except OSError:
        return


def _write(fd: int, data: bytes) -> None:
    """Write it all. Blocks. Raises ``OSError``."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def record(config: Config, stream: TextIO, command: Sequence[str]) -> int:
    """Relay between the client and a command, and record; returns the command's exit code.

    Raises ``CannotStart``, or a ``BuffrError`` if nothing can be recorded.
    """
    service, route = _service(config, stream)
    try:
        child = subprocess.Popen(  # noqa: S603  # the user's own command
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise CannotStart(f"{command[0]}: {error.strerror}", _OF_SIGNALS - 2) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: child.send_signal(number))
    relay = _Relay(route, child)
    _serve(service, relay.begin)
    code = child.wait()
    return code if code >= 0 else _OF_SIGNALS - code


@define(eq=False)
class _Relay:
    """Passes bytes on as they come, on a thread for each direction; lines are recorded aside.

    A line is handed over before its end is passed on, so that what answers it
    comes later.
    """

    route: Recorded
    child: subprocess.Popen[bytes]
    _transcript: StdioTranscript = field(factory=lambda: StdioTranscript(uuid.uuid4().hex.encode()))
    _recorded: Deferred[None] | None = None

    def begin(self) -> None:
        """Start the threads; the one of the server's lines ends the session."""
        for name, run in (("client", self._from_client), ("server", self._from_server)):
            threading.Thread(target=run, name=name, daemon=True).start()

    def _from_client(self) -> None:
        assert self.child.stdin is not None
        lines = _Lines()
        try:
            for data in _read(0):
                self._hand_over(self._transcript.client, lines.feed(data))
                _write(self.child.stdin.fileno(), data)
        except OSError:  # the server has ended
            return
        finally:
            self.child.stdin.close()

    def _from_server(self) -> None:
        assert self.child.stdout is not None
        lines = _Lines()
        for data in _read(self.child.stdout.fileno()):
            self._hand_over(self._transcript.server, lines.feed(data))
            try:
                _write(1, data)
            except OSError:  # the client has left: the server is told by the end of its input
                break
        self.child.wait()
        reactor: Any = _installed
        reactor.callFromThread(self._end)

    def _hand_over(
        self, take: Callable[[bytes, float], Iterator[HTTPInteraction]], lines: Iterator[bytes]
    ) -> None:
        reactor: Any = _installed
        now = time.monotonic()
        for line in lines:
            reactor.callFromThread(self._take, take, line, now)

    def _take(
        self, take: Callable[[bytes, float], Iterator[HTTPInteraction]], line: bytes, now: float
    ) -> None:
        for interaction in take(line, now):
            self._keep(interaction)

    def _keep(self, interaction: HTTPInteraction) -> None:
        """Record after what was recorded before."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        by = self.route.recorded_by
        stamped, before = evolve(interaction, recorded_at=at, recorded_by=by), self._recorded
        self._recorded = Deferred.fromCoroutine(self._append(stamped, before))

    async def _append(self, interaction: HTTPInteraction, before: Deferred[None] | None) -> None:
        if before is not None:
            await before
        try:
            await self.route.store.append(interaction)
        except BuffrError as error:
            say(LogLevel.error, "recording lost", err=str(error))

    def _end(self) -> None:
        for interaction in self._transcript.ended():
            self._keep(interaction)
        reactor: Any = _installed
        if self._recorded is None:
            reactor.stop()
        else:
            self._recorded.addBoth(lambda _: reactor.stop())


def replay(config: Config, stream: TextIO) -> int:
    """Answer the client from the cassette until its input ends. Raises a ``BuffrError``."""
    (row,) = config.reverse
    if not row.cassette.exists():
        raise ConfigError(f"--cassette {row.cassette}: there is no such file", hint="record it")
    service, route = _service(config, stream)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    _serve(service, _Answering(service, route).begin)
    return 0


@define(eq=False)
class _Answering:
    """Turns each line into a request, and its answer into lines."""

    service: BuffrService
    route: Recorded
    _connection: Connection = field(factory=lambda: Connection(_installed))
    _session: bytes | None = None
    _ending: bool = False

    def begin(self) -> None:
        """Read lines on a thread, until there are no more."""
        threading.Thread(target=self._read, name="client", daemon=True).start()

    def _read(self) -> None:
        reactor: Any = _installed
        lines = _Lines()
        for data in _read(0):
            for line in lines.feed(data):
                reactor.callFromThread(self._say, line)
        reactor.callFromThread(self._end)

    def _end(self) -> None:
        """Answer what has come, but wait for nothing that has not."""
        if self._ending:
            return
        self._ending = True
        self.service.engine.close_sessions()
        ended = DeferredList(list(self._connection.running))
        ended.addTimeout(_END_S, _installed).addBoth(self._ended)

    def _ended(self, _: object) -> None:
        for running in list(self._connection.running):
            running.cancel()
        reactor: Any = _installed
        reactor.stop()

    def _say(self, line: bytes) -> None:
        said = messages(line)
        self._start(self._answered(b"POST", line, said))
        if said and said[0].method == INITIALIZED:
            self._start(self._answered(b"GET", b"", ()))

    def _start(self, running: Coroutine[Any, Any, None]) -> None:
        deferred = Deferred.fromCoroutine(running)
        if not deferred.called:
            self._connection.running.add(deferred)
            deferred.addBoth(lambda _: self._connection.running.discard(deferred))

    async def _answered(self, method: bytes, line: bytes, said: tuple[Message, ...]) -> None:
        headers = request_headers(self._session)
        request = Request(method, PATH, headers, body_length=len(line))
        sink = LineSink(self._connection, self._write, self._head)
        try:
            await self.service.engine.handle(self.route, request, line, sink)
        except CancelledError:
            return
        except BuffrError as error:
            self._refuse(error, said)

    def _head(self, session: bytes | None) -> None:
        if session is not None:
            self._session = session

    def _refuse(self, error: BuffrError, said: tuple[Message, ...]) -> None:
        """Answer each request with an error; what needs no answer is in the log alone."""
        text = f"{error}\n{error.explanation}".rstrip()
        for message in said:
            if message.method and message.id:
                told = {"code": _MISS, "message": f"buffr: {text}"}
                self._write(
                    b'{"jsonrpc": "2.0", "id": %b, "error": %b}'
                    % (message.id, json.dumps(told).encode())
                )

    def _write(self, line: bytes) -> None:
        try:
            _write(1, line + b"\n")
        except OSError:  # the client has left
            self._connection.lost = True
            self._end()
