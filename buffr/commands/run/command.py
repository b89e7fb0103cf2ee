"""``buffr run``: run a command whose HTTP goes through a proxy of its own, and report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from buffr.commands.run.child import CannotStart, look_for
from buffr.commands.run.lines import RunLog
from buffr.commands.run.options import declare, settings
from buffr.commands.run.outcome import Outcome
from buffr.commands.run.report import write_report
from buffr.commands.run.session import Session
from buffr.commands.run.signals import SignalWatch
from buffr.commands.run.summary import summary
from buffr.commands.run.tally import Tally
from buffr.commands.terminal import complain, paint_for
from buffr.errors import BuffrError, ConfigError
from buffr.tls.authority import Authority

__all__ = ["declare", "run"]

_NOT_STARTED = 2


def run(given: argparse.Namespace) -> int:
    """Run the command that the arguments name; the process's exit code."""
    if not given.command:
        sys.stderr.write(f"Usage: {given.parser.usage}\n")
        return _NOT_STARTED
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
    return _reported(outcome, given.report)


def _outcome(given: argparse.Namespace, open_files: ExitStack) -> Outcome:
    config = settings(given, os.environ)
    now = datetime.now(UTC)
    authority = Authority.load_or_create(config.ca_cert, config.ca_key, now)
    if authority.created:
        key = f"its key, {config.ca_key}, is for nobody else"
        sys.stderr.write(f"buffr: made the CA {config.ca_cert}; {key}\n")
    tally = Tally()
    stream = _log_stream(given.log, open_files)
    log = RunLog(stream, config.log_format, tally, all_of_it=stream is not sys.stderr)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    reactor = _reactor()
    session = Session(reactor, given, config, authority, os.environ, tally, SignalWatch())
    session.watch.start(lambda number: reactor.callFromThread(session.signalled, number))
    return _in_reactor(reactor, session.run)


def _reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415  # its import chooses the reactor

    return reactor


def _in_reactor(reactor: Any, main: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """Run to the end of a coroutine. Raises what it raises."""
    results: list[Outcome | Failure] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(main())
        running.addBoth(results.append).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _log_stream(path: str | None, open_files: ExitStack) -> TextIO:
    if path is None:
        return sys.stderr
    try:
        return open_files.enter_context(Path(path).open("a", encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--log {path}: {error.strerror}") from error


def _reported(outcome: Outcome, report: str | None) -> int:
    """Say what came of it; the exit code."""
    with suppress(OSError):  # whoever reads standard error may have left
        sys.stderr.write(summary(outcome, paint_for(sys.stderr, os.environ)))
        sys.stderr.flush()
    if report is not None:
        try:
            write_report(Path(report), outcome)
        except OSError as error:
            return outcome.exit_code or _failed(f"--report {report}: {error.strerror}", 1)
    return outcome.exit_code


def _see(log: str | None) -> str:
    return "it cannot start" + (f"; {log} says why" if log else "")


def _failed(message: str, code: int) -> int:
    complain(message)
    return code
