"""The proxy of a test run, and what became of each test's requests.

Its port is open from the first test on, and its CA is there to be trusted. What serves takes
far longer to be imported and put together: that is done as soon as something asks, and not at
all for tests that ask nothing.
"""

from __future__ import annotations

import gc
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, Any

# The first request may come while a test has given its process another clock. A reactor that is
# made then has the clock that this module has found.
import twisted.python.runtime  # noqa: F401
from attrs import asdict, define, field

from buffr.commands.run.environment import TrustFiles, child_environment
from buffr.errors import BuffrError
from buffr.pytest_plugin import network
from buffr.tls.authority import Authority

if TYPE_CHECKING:
    from buffr.drift.verdict import Verdict
    from buffr.exchanges.exchange import Finished
    from buffr.origin import Origin
    from buffr.pytest_plugin.serving import Serving

__all__ = ["Hub", "Tape"]

_BACKLOG = 1024
_MOST_NOTED = 100
# As above: this machine's, and no test's.
_WALL = time.time
_NOW = partial(datetime.now, UTC)


@define(eq=False)
class Tape:
    """What became of one test's requests. ``unused`` is known when the test is over."""

    test: str
    cassette: str
    mode: str
    hits: int = 0
    live: int = 0
    misses: list[dict[str, str]] = field(factory=list)
    failures: list[dict[str, str]] = field(factory=list)
    unused: list[str] = field(factory=list)

    def note(self, exchange: Finished) -> None:
        """Count an exchange."""
        if exchange.src == "cassette":
            self.hits += 1
        elif exchange.src == "upstream":
            self.live += 1
        told = {"request": exchange.request, "detail": exchange.detail}
        if exchange.src == "miss" and len(self.misses) < _MOST_NOTED:
            self.misses.append(told)
        elif exchange.level == "ERROR":
            self.failed(told["request"], told["detail"])

    def failed(self, request: str, why: str) -> None:
        """Note what could not be answered."""
        if len(self.failures) < _MOST_NOTED:
            self.failures.append({"request": request, "detail": why})


class Hub:
    """Serves the tests of all processes of a run. ``answer`` may be called on any thread."""

    def __init__(self, settings: str | None) -> None:
        """Open the port. Blocks. Raises a ``BuffrError``, or ``OSError``.

        ``settings`` is a settings file: there and then it is seen whether it is one that can serve.
        """
        self._directory = tempfile.TemporaryDirectory(
            prefix="buffr-pytest-", ignore_cleanup_errors=True
        )
        self._place = place = Path(self._directory.name)
        self._settings = settings
        # What a single test does is its own; what BUFFR_... says of a service is not for it.
        self._environ = {n: value for n, value in os.environ.items() if not n.startswith("BUFFR_")}
        self.tapes: list[Tape] = []
        self._open: dict[str, Tape] = {}
        self._waiting: dict[str, Mapping[str, Any]] = {}
        """The scopes that have begun before there was anything to serve them."""
        self._lock = threading.RLock()
        self._serving: Serving | None = None
        self._broken: Exception | None = None
        ca = place / "buffr-ca.pem", place / "buffr-ca.key"
        if settings:
            self._serving = self._made()
            ca = self._serving.ca
        authority = Authority.load_or_create(*ca, _NOW())
        self._files = TrustFiles.write(place, authority, os.environ)
        self._port = _Port()
        self.port = self._port.number
        network.allowed.add(("127.0.0.1", self.port))
        if self._serving is None:
            self._port.when_asked(self._asked)
        else:
            self._serving.listen(self._port.taken())

    def _made(self) -> Serving:
        collecting = gc.isenabled()
        gc.disable()  # or a tenth of the time goes into looking at what is imported
        try:
            from buffr.pytest_plugin.serving import Serving  # noqa: PLC0415  # all that serves
        finally:
            if collecting:
                gc.enable()
        return Serving(self._place, self._settings, self._environ, self, _WALL, _NOW)

    def _serve(self) -> Serving:
        """What serves, from now on if it does not yet. Raises a ``BuffrError``, or ``OSError``."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._serving is None:
                try:
                    self._serving = self._begun()
                except Exception as error:
                    self._broken = error
                    for tape in list(self._open.values()):  # before their clients go on
                        tape.failed("the first connection", str(error))
                    self._port.taken().close()
                    raise
            return self._serving

    def _begun(self) -> Serving:
        serving = self._made()
        for scope, message in self._waiting.items():
            serving.begin(scope, message)
        self._waiting.clear()
        serving.listen(self._port.taken())
        return serving

    def _asked(self) -> None:
        """Something has connected, on behalf of a test that is under way."""
        with suppress(Exception):  # the tests have been told
            self._serve()

    def close(self) -> None:
        """Stop the proxy; everything is recorded then."""
        with self._lock:
            serving = self._serving
            if serving is None and self._broken is None:
                self._broken = BuffrError("the test run is over")
                self._port.taken().close()
        if serving is not None:
            serving.close()
        self._directory.cleanup()

    def finished(self, exchange: Finished) -> None:
        """As ``Observer`` has it."""
        tape = self._open.get(exchange.scope)
        if tape is not None:
            tape.note(exchange)

    def recorded(self, request: str) -> None:
        """As ``Observer`` has it; what was fetched is counted when it is finished."""

    def drifted(self, request: str, verdict: Verdict) -> None:
        """As ``Observer`` has it; the log says so."""

    def refused(self, scope: str, origin: Origin, error: BuffrError) -> None:
        """A scope has no route to this origin."""
        tape = self._open.get(scope)
        if tape is not None:
            tape.failed(origin.url, str(error))

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a test's process asks for. Raises what the control passes on in words."""
        scope = message["scope"]
        match message["do"]:
            case "begin":
                return self._begin(scope, message)
            case "lead":
                segment = self._serve().lead(scope, message["url"])
                return {"url": f"http://127.0.0.1:{self.port}/{segment}"}
            case "told":
                return self._told(self._open[scope])
            case "end":
                return self._end(scope)
        raise ValueError(message["do"])

    def _told(self, tape: Tape) -> dict[str, Any]:
        """Behind the reactor's work so far: what clients have in full is counted then."""
        with self._lock:
            serving = self._serving
        if serving is not None:
            serving.settle()
        return asdict(tape)

    def _begin(self, scope: str, message: dict[str, Any]) -> dict[str, Any]:
        tape = Tape(message["test"], message["cassette"], message["mode"])
        with self._lock:
            waits = self._serving is None and self._broken is None and _can_wait(message)
            if waits:
                self._waiting[scope] = message
        if not waits:
            self._serve().begin(scope, message)
        self._open[scope] = tape
        self.tapes.append(tape)
        # A test's requests are recorded, and replayed without a network, even if this machine
        # reaches their hosts without its own proxy.
        named = os.environ.keys() & {"NO_PROXY", "no_proxy"}
        direct = dict.fromkeys(named, ",".join(self._serve().direct)) if named else {}
        ours = child_environment({**os.environ, **direct}, scope, self.port, self._files)
        changed = {name: v for name, v in ours.items() if os.environ.get(name) != v}
        return {"environ": changed, "port": self.port, "ca": str(self._files.added)}

    def _end(self, scope: str) -> dict[str, Any]:
        tape = self._open[scope]
        with self._lock:
            self._waiting.pop(scope, None)
            serving = self._serving
        if serving is not None:
            tape.unused = serving.end(scope)
        del self._open[scope]
        return asdict(tape)


def _can_wait(message: Mapping[str, Any]) -> bool:
    """Whether nothing can be wrong before the test asks, and nothing says that it will.

    What is wrong with its settings is told before it runs. Whoever has a cassette asks.
    """
    more = any(message.get(name) for name in ("settings", "redact", "passed", "merged"))
    return not more and not Path(message["cassette"]).exists()


class _Port:
    """A port whose connections wait until something serves them."""

    def __init__(self) -> None:
        """Open it. Raises ``OSError``."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._socket.setblocking(False)
        self.number = int(self._socket.getsockname()[1])
        self._stop: socket.socket | None = None

    def when_asked(self, call: Callable[[], None]) -> None:
        """Have something called, on a thread of its own, as soon as a client connects."""
        self._stop, stopped = socket.socketpair()
        threading.Thread(
            target=self._watch, args=(call, stopped), name="buffr first request", daemon=True
        ).start()

    def _watch(self, call: Callable[[], None], stopped: socket.socket) -> None:
        with stopped, DefaultSelector() as selector:
            for one in (self._socket, stopped):
                selector.register(one, EVENT_READ)
            asked = {key.fileobj for key, _ in selector.select()}
        if stopped not in asked:
            call()

    def taken(self) -> socket.socket:
        """The listening socket, which is the caller's from now on."""
        if self._stop is not None:
            self._stop.close()
        return self._socket
