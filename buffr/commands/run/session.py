"""One run: the command in its place, and behind that the proxy.

The command starts first. What it has to know is where the proxy is and whom
to trust; the proxy itself takes far longer to be put together, so this is
done while the command starts, and not at all for one that asks for nothing.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING, TextIO

from attrs import define, evolve, field

from buffr.commands.flags import flags_of, mode_of, path_of
from buffr.commands.run.beside import Beside, HasFileno, Place
from buffr.commands.run.child import CannotStart, Running, SignalWatch, look_for
from buffr.commands.run.environment import TrustFiles
from buffr.commands.run.outcome import Counts, Outcome, Tally, summary
from buffr.commands.run.temporary import run_directory
from buffr.commands.terminal import complain, paint_for
from buffr.config import Config, ForwardSettings, load
from buffr.errors import BuffrError, ConfigError
from buffr.isolate.switches import NoNamespace
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode
from buffr.stores.writable import check_directory
from buffr.tls.authority import Authority
from buffr.wiring.access_keys import with_keys

if TYPE_CHECKING:
    from buffr.commands.run.clock import CommandClock
    from buffr.commands.run.proxied import Proxied
    from buffr.wiring.unused import Unused

__all__ = ["FAIL_ON", "fail_on", "flags", "is_needed", "run_command", "scope_of", "settings"]

FAIL_ON = ("miss", "record", "escape", "unused")

_NOT_STARTED = 2
_PATIENCE_S = 0.25
"""No proxy is started for commands that end within this time without a request."""
_PROXY = ("twisted.internet.reactor", "buffr.commands.run.proxied")
"""What serves, in steps between which it is seen whether the command has ended."""


def run_command(given: argparse.Namespace) -> int:
    """Run the command in the arguments; returns the exit code."""
    try:
        look_for(given.command[0], os.environ)
        with ExitStack() as open_files:
            outcome = _outcome(given, open_files)
    except CannotStart as error:
        return _failed(str(error), error.code)
    except (BuffrError, OSError) as error:
        return _failed(str(error), _NOT_STARTED)
    except SystemExit:  # the log says why
        return _failed(_see(given.log), _NOT_STARTED)
    code = _reported(outcome, given.report)
    return _accepted(given, outcome, code) if given.accept_rules else code


def _outcome(given: argparse.Namespace, open_files: ExitStack) -> Outcome:
    # A key that is required and not set is made here: the command has to know it.
    config = with_keys(settings(given, os.environ))
    clock, environ = _clock(given, config), dict(os.environ)
    if clock is None:
        authority = Authority.load_or_create(config.ca_cert, config.ca_key, datetime.now(UTC))
    else:
        authority = clock.authority(config)
    if authority.created:
        key = f"its key, {config.ca_key}, is for nobody else"
        sys.stderr.write(f"buffr: made the CA {config.ca_cert}; {key}\n")
    stream = _log_stream(given.log, open_files)
    temporary = open_files.enter_context(run_directory())
    files = TrustFiles.within(temporary)
    if clock is not None:
        environ = clock.environment(environ, temporary)
    place = _place(given, config, files, environ)
    open_files.enter_context(closing(place))
    session = _Session(given, config, stream, place, clock)
    session.watch.start(session.signalled)
    place.trust(authority)
    return session.run()


def _clock(given: argparse.Namespace, config: Config) -> CommandClock | None:
    """The command's own clock, if it has one."""
    if given.clock is None:
        return None
    from buffr.commands.run.clock import CommandClock  # noqa: PLC0415  # few ask for one

    return CommandClock.of(given.clock, given.command[0], config, datetime.now(UTC))


def _place(
    given: argparse.Namespace, config: Config, files: TrustFiles, environ: Mapping[str, str]
) -> Place:
    """Where the command is to run. Raises ``NoNamespace``, or ``ConfigError``."""
    scope = scope_of(given)
    if given.isolate:
        from buffr.commands.run.isolated import Isolated, Passing  # noqa: PLC0415  # few ask for it
        from buffr.isolate.files import engine_sockets  # noqa: PLC0415

        try:
            passing = Passing(tuple(given.allow), tuple(given.publish))
            for engine in engine_sockets():
                complain(f"{engine} leads out: containers have the host's network")
            return Isolated.begin(given.command, scope, files, passing, environ)
        except NoNamespace as error:
            if given.isolate != "try":
                raise
            complain(f"{error}; the command runs without --isolate, and is told of the proxy")
    return Beside.begin(given.command, scope, files, config, environ)


@define(eq=False)
class _Session:
    """Runs the command that ``given`` names in its place, with a proxy behind that.

    The signals that ``watch`` tells of are passed on to it, those too that
    came before it had begun.
    """

    given: argparse.Namespace
    config: Config
    stream: TextIO
    place: Place
    clock: CommandClock | None
    tally: Tally = field(init=False, factory=Tally)
    watch: SignalWatch = field(init=False, factory=SignalWatch)
    _child: Running | None = field(init=False, default=None)
    _early: list[signal.Signals] = field(init=False, factory=list)
    _killing: threading.Timer | None = field(init=False, default=None)
    _passing_on: threading.RLock = field(init=False, factory=threading.RLock)

    def signalled(self, number: signal.Signals) -> None:
        """Pass a signal on; SIGTERM asks for an end, and is followed by one."""
        with self._passing_on:
            if self._child is None:
                self._early.append(number)
                return
            self._child.send(number)
            if number is signal.SIGTERM and self._killing is None:
                kill = self._child.send
                self._killing = threading.Timer(self.given.grace, kill, (signal.SIGKILL,))
                self._killing.daemon = True
                self._killing.start()

    def run(self) -> Outcome:
        """Run it to its end; everything is recorded then.

        Raises ``CannotStart``, ``BuffrError``, or ``SystemExit`` where the
        service has logged why it cannot start.
        """
        proxy = None if _cannot_fail(self.config) else self._proxied()
        started = time.monotonic()
        try:
            child = self._begun()
        except CannotStart:
            if proxy is not None:
                proxy.serve(lambda: None, self._over)
            raise
        counts, unused = self._served(child, proxy)
        return Outcome(
            command=Path(self.given.command[0]).name,
            ended=child.ended,
            dur_s=child.ended_at - started,
            counters=counts,
            tally=self.tally,
            unused=unused,
            fail_on=fail_on(self.given),
            ledger=self.place.ledger,
        )

    def _begun(self) -> Running:
        with self.watch.as_before():
            child = self.place.start()
        with self._passing_on:
            self._child = child
            for number in self._early:
                self.signalled(number)
        return child

    def _served(self, child: Running, proxy: Proxied | None) -> tuple[Counts, list[Unused]]:
        """Serve until the command has ended."""
        try:
            if proxy is None and is_needed(child, self.place.asking):
                proxy = self._proxied()
            if proxy is not None:
                return proxy.serve(child.wait, self._over)
            return Counts(), []
        except BaseException:
            child.send(signal.SIGTERM)  # it cannot go on without
            raise
        finally:
            self._over()

    def _over(self) -> None:
        """From now on, a signal ends buffr at once."""
        self.watch.stop()
        with self._passing_on:
            if self._killing is not None:
                self._killing.cancel()

    def _proxied(self) -> Proxied:
        from buffr.commands.run.proxied import Proxied  # noqa: PLC0415  # see above

        now = partial(datetime.now, UTC) if self.clock is None else self.clock.now
        return Proxied(self.config, self.place, self.tally, self.stream, now)


def is_needed(child: Running, asking: Sequence[HasFileno]) -> bool:
    """Whether a proxy is needed: a client connects, or the command continues."""
    _first_of((*asking, child), _PATIENCE_S)
    for module in _PROXY:
        if child.has_ended and not _first_of(asking, 0.0):
            return False
        import_module(module)
    return not child.has_ended or _first_of(asking, 0.0)


def _first_of(files: Iterable[HasFileno], patience_s: float) -> bool:
    """Whether one of these can be read from within that time."""
    with DefaultSelector() as selector:
        for file in files:
            selector.register(file, EVENT_READ)
        return bool(selector.select(patience_s))


def _cannot_fail(config: Config) -> bool:
    """Whether nothing but the port stands in the way of a start, so that the command may go first.

    That is so with settings of the simplest kind: no cassette to be read, no
    certificates, nothing to warn of, and a directory that can be written to.
    """
    forward = config.forward
    assert forward is not None
    upstream = forward.upstream
    files = (upstream.ca_file, upstream.client_cert, forward.cache.store, forward.cassette)
    named = (*forward.hosts, *config.warnings, *files)
    if any(one is not None for one in named) or forward.mode is Mode.CACHE:
        return False
    try:
        if forward.mode.records:
            check_directory(config.data_dir)
    except OSError:  # which is said in due form
        return False
    return True


def fail_on(given: argparse.Namespace) -> tuple[str, ...]:
    """Which of ``FAIL_ON`` were requested."""
    return tuple(what for what in FAIL_ON if getattr(given, f"fail_on_{what}"))


def scope_of(given: argparse.Namespace) -> str:
    """The requested scope, or a new, unique one."""
    return str(given.scope or f"run-{secrets.token_hex(4)}")


def flags(given: argparse.Namespace) -> dict[str, str]:
    """The flags for the settings."""
    mode = mode_of(given)
    said = {name: value for name, value in flags_of(given).items() if name != "cassette"}
    named = {} if mode is None else {"mode": mode}
    return {**said, **named, "proxy": "true", "listen": "127.0.0.1"}


def settings(given: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings of a run. Raises ``ConfigError``."""
    path = path_of(given, environ)
    config = load(Path(path) if path else None, environ, flags(given))
    forward = config.forward
    assert forward is not None
    if forward.scope_cassettes and given.scope is None:
        raise ConfigError(
            "forward.scope_cassettes: each run would have cassettes that no other run replays",
            hint="name the scope with --scope",
        )
    if forward.tls:
        raise ConfigError(
            "forward.tls: a command's clients reach the proxy of this run by plain HTTP",
            hint="remove it; the port is open to this machine alone",
        )
    if given.accept_rules:
        from buffr.commands.run.accept import refuse_in_vain  # noqa: PLC0415  # few ask for it

        refuse_in_vain(path, config, environ)
    if given.cassette:
        if forward.mode is Mode.REPLAY and not Path(given.cassette).exists():
            raise ConfigError(
                f"--cassette {given.cassette}: there is no such file",
                hint="record it in mode auto first",
            )
        forward = _with_one_cassette(forward, Path(given.cassette))
    return evolve(config, forward=forward)


def _with_one_cassette(forward: ForwardSettings, path: Path) -> ForwardSettings:
    """One cassette for all hosts without a row of their own."""
    hosts = (evolve(row, cassette=path) if row.host == EVERY_HOST else row for row in forward.hosts)
    return evolve(forward, cassette=path, hosts=tuple(hosts))


def _log_stream(path: str | None, open_files: ExitStack) -> TextIO:
    if path is None:
        return sys.stderr
    try:
        return open_files.enter_context(Path(path).open("a", encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--log {path}: {error.strerror}") from error


def _reported(outcome: Outcome, report: str | None) -> int:
    """Print the result; returns the exit code."""
    with suppress(OSError):  # whoever reads standard error may have left
        sys.stderr.write(summary(outcome, paint_for(sys.stderr, os.environ)))
        sys.stderr.flush()
    if report is not None:
        from buffr.commands.run.report import write_report  # noqa: PLC0415  # few ask for one

        try:
            write_report(Path(report), outcome)
        except OSError as error:
            return outcome.exit_code or _failed(f"--report {report}: {error.strerror}", 1)
    return outcome.exit_code


def _accepted(given: argparse.Namespace, outcome: Outcome, code: int) -> int:
    """Write the proposed rules into the settings file; returns the exit code."""
    from buffr.commands.run.accept import accept  # noqa: PLC0415  # as above

    path = path_of(given, os.environ)
    assert path is not None
    try:
        said = accept(
            Path(path), outcome.tally.proposed, lambda new: load(new, os.environ, flags(given))
        )
    except ConfigError as error:
        return code or _failed(str(error), 1)
    complain(said)
    return code


def _see(log: str | None) -> str:
    return "it cannot start" + (f"; {log} says why" if log else "")


def _failed(message: str, code: int) -> int:
    complain(message)
    return code
