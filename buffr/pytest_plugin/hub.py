"""The proxy of a test run: a scope for each test, with a cassette and settings of its own.

It needs all that serves, and is imported when the first test asks for it.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from attrs import asdict, define, evolve, field

from buffr.commands.run.environment import TrustFiles, child_environment
from buffr.config import Config, ForwardHost, load
from buffr.config.forward import ForwardSettings
from buffr.config.schema import settings_of
from buffr.embedded.reactor_thread import ReactorThread, reactor_thread
from buffr.errors import BuffrError
from buffr.exchanges.exchange import Finished
from buffr.origin import Origin
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode
from buffr.pytest_plugin import network
from buffr.redaction.redactor import Redactor
from buffr.stores.cassette.writing import write_new
from buffr.tls.authority import Authority
from buffr.wiring.build import build
from buffr.wiring.routes import redaction_rules
from buffr.wiring.scoped_routes import ScopedRoutes
from buffr.wiring.service import BuffrService
from buffr.wiring.unused import unused

if TYPE_CHECKING:
    from buffr.drift.verdict import Verdict

__all__ = ["Hub", "Tape"]

_FLAGS = {"proxy": "true", "listen": "127.0.0.1", "port": "0"}
_MOST_NOTED = 100


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
        elif exchange.level == "ERROR" and len(self.failures) < _MOST_NOTED:
            self.failures.append(told)


class Hub:
    """Serves the tests of all processes of a run. ``answer`` may be called on any thread."""

    def __init__(self, settings: str | None) -> None:
        """Start the proxy. Blocks. Raises a ``BuffrError``, or ``OSError``."""
        self._directory = tempfile.TemporaryDirectory(
            prefix="buffr-pytest-", ignore_cleanup_errors=True
        )
        place = Path(self._directory.name)
        # What a single test does is its own; what BUFFR_... says of a service is not for it.
        environ = {name: v for name, v in os.environ.items() if not name.startswith("BUFFR_")}
        config = load(Path(settings) if settings else None, environ, _FLAGS)
        self._direct = Bypass(config.no_proxy).of_loopback()
        self._config = evolve(_in_directory(config, place), no_proxy=self._direct)
        authority = Authority.load_or_create(
            self._config.ca_cert, self._config.ca_key, datetime.now(UTC)
        )
        self._files = TrustFiles.write(place, authority, os.environ)
        self.tapes: list[Tape] = []
        self._open: dict[str, Tape] = {}
        self._rows: dict[str, ForwardHost] = {}
        self._thread = reactor_thread()
        self._service, self._scopes = self._started(self._thread)
        self.port = self._service.listeners[0].address[1]
        network.allowed.add(("127.0.0.1", self.port))
        if self._thread.ident is not None:
            network.free_threads.add(self._thread.ident)

    def _started(self, thread: ReactorThread) -> tuple[BuffrService, ScopedRoutes]:
        async def made() -> BuffrService:
            return build(self._config, thread.reactor, on_console=False, write=_drop, by_scope=True)

        async def listen() -> None:
            service.listen()

        service = thread.call(made)
        scopes = service.scopes
        assert scopes is not None
        service.engine.observer = self
        scopes.refused = self._refused
        service.open()
        thread.call(listen)
        return service, scopes

    def close(self) -> None:
        """Stop the proxy; everything is recorded then."""

        async def stop() -> None:
            await self._service.stopService()

        self._thread.call(stop)
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

    def _refused(self, scope: str, origin: Origin, error: BuffrError) -> None:
        tape = self._open.get(scope)
        if tape is not None and len(tape.failures) < _MOST_NOTED:
            tape.failures.append({"request": origin.url, "detail": str(error)})

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a test's process asks for. Raises what the control passes on in words."""
        scope = message["scope"]
        match message["do"]:
            case "begin":
                return self._begin(scope, message)
            case "lead":
                origin = Origin.parse(message["url"])

                async def lead() -> str:
                    return self._scopes.lead(scope, origin)

                segment = self._thread.call(lead)
                return {"url": f"http://127.0.0.1:{self.port}/{segment}"}
            case "told":
                return self._thread.call(self._settled(self._open[scope]))
            case "end":
                return self._end(scope)
        raise ValueError(message["do"])

    @staticmethod
    def _settled(tape: Tape) -> Callable[[], Coroutine[Any, Any, dict[str, Any]]]:
        """Behind the reactor's work so far: what clients have in full is counted then."""

        async def told() -> dict[str, Any]:
            return asdict(tape)

        return told

    def _begin(self, scope: str, message: dict[str, Any]) -> dict[str, Any]:
        tape = Tape(message["test"], message["cassette"], message["mode"])
        cassette = Path(message["cassette"])
        merged = message.get("merged")
        if merged and tape.mode == Mode.REPLAY.value:  # several files, read as one
            cassette = Path(self._directory.name) / f"{scope}.json"
        config = self._settings_of(message, cassette)
        if merged:
            self._written(cassette, merged, config)

        async def begin() -> None:
            self._scopes.begin(scope, config)

        self._thread.call(begin)
        self._open[scope] = tape
        self.tapes.append(tape)
        # A test's requests are recorded, and replayed without a network, even if this machine
        # reaches their hosts without its own proxy.
        direct = dict.fromkeys(os.environ.keys() & {"NO_PROXY", "no_proxy"}, ",".join(self._direct))
        ours = child_environment({**os.environ, **direct}, scope, self.port, self._files)
        changed = {name: v for name, v in ours.items() if os.environ.get(name) != v}
        return {"environ": changed, "port": self.port, "ca": str(self._files.added)}

    def _written(self, cassette: Path, paths: Iterable[str], config: Config) -> None:
        """Make a cassette of files that other tools, or buffr, have recorded."""
        from buffr.interchange.in_place import interactions_of  # noqa: PLC0415  # few need it

        salt = secrets.token_hex(16)
        redactor = Redactor(redaction_rules(config), salt.encode(), _drop)
        found = (Path(path) for path in paths)
        read = (one for path in found if path.exists() for one in interactions_of(path))
        cassette.parent.mkdir(parents=True, exist_ok=True)
        write_new(cassette, salt, map(redactor.interaction, read), _drop)

    def _settings_of(self, message: Mapping[str, Any], cassette: Path) -> Config:
        general = self._config.forward
        assert general is not None
        mode = Mode(message["mode"])
        own = self._row(message.get("settings") or {})
        values = {name: getattr(own, name) for name in _named(message.get("settings") or {})}
        match = values.get("match", general.match)
        if values.get("repeat", general.repeat) is None and match.preset == "buffr":
            values["repeat"] = "once"
        common = {"mode": mode, "cassette": cassette, **values}
        rows = [evolve(row, **common) for row in general.hosts if row.host != EVERY_HOST]
        others = evolve(general.of(EVERY_HOST), host=EVERY_HOST, **common)
        passed = [
            evolve(others, host=host, mode=Mode.PASSTHROUGH) for host in message.get("passed", ())
        ]
        forward = evolve(general, mode=mode, hosts=(*passed, *rows, others))
        redact = self._config.redact
        more = message.get("redact") or {}
        redact = evolve(
            redact,
            headers=tuple(dict.fromkeys((*redact.headers, *more.get("headers", ())))),
            query=tuple(dict.fromkeys((*redact.query, *more.get("query", ())))),
        )
        return evolve(self._config, forward=forward, redact=redact)

    def _row(self, settings: Mapping[str, Any]) -> ForwardHost:
        """What a mark or a fixture says of a test, read as settings. Raises ``ConfigError``."""
        name = json.dumps(settings, sort_keys=True)
        row = self._rows.get(name)
        if row is None:
            mapping = {"forward": {"hosts": [{"host": EVERY_HOST, **settings}]}}
            forward = cast("ForwardSettings", load(None, {}, _FLAGS, mapping=mapping).forward)
            row = self._rows[name] = forward.hosts[0]
        return row

    def _end(self, scope: str) -> dict[str, Any]:
        tape = self._open[scope]

        async def end() -> list[str]:
            found = unused(self._scopes.routes_of(scope))
            self._scopes.end(scope)
            return [one.request for one in found]

        tape.unused = self._thread.call(end)
        del self._open[scope]
        return asdict(tape)


def _named(settings: Mapping[str, Any]) -> list[str]:
    """The fields that some settings are for."""
    return [one.name for one in settings_of(ForwardHost) if one.key.split(".")[0] in settings]


def _in_directory(config: Config, place: Path) -> Config:
    """With a CA for this run alone, and spools beside it, unless the settings name others."""
    cert, key = config.ca_cert, config.ca_key
    if cert == config.data_dir / "buffr-ca.pem":
        cert, key = place / "buffr-ca.pem", place / "buffr-ca.key"
    return evolve(config, data_dir=place, ca_cert=cert, ca_key=key)


def _drop(_: str) -> None:
    """Lines of exchanges are told in the tests' own reports."""
