"""A process that has imported buffr and is forked for each start of it.

Run by ``forked.py``, which says in each datagram what to run, and passes four
descriptors: where the exit code goes, and the standard streams. The fork comes
before anything that a fork would share wrongly: no reactor, no thread, no file.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import NoReturn

import buffr

_INSTALL_A_REACTOR = (
    *("buffr.commands.mcp", "buffr.commands.run", "buffr.embedded", "buffr.pytest_plugin"),
)
_FOR_TESTS = ("buffr.testing",)
_MOST_BYTES = 1 << 20


def import_all() -> None:
    """Import what a running buffr needs, and leave it out of garbage collection."""
    for module in pkgutil.walk_packages(buffr.__path__, "buffr."):
        outside = module.name.startswith((*_INSTALL_A_REACTOR, *_FOR_TESTS))
        if not outside and not module.name.endswith("__main__"):
            import_module(module.name)
    assert "twisted.internet.reactor" not in sys.modules
    gc.collect()
    gc.freeze()


def serve(control: socket.socket) -> list[str]:
    """Fork for each message; returns its arguments in the child, and never in the parent."""
    ended, wake = os.pipe()
    for fd in (ended, wake):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests end it
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    with DefaultSelector() as selector:
        selector.register(control, EVENT_READ)
        selector.register(ended, EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if ended in ready:
                os.read(ended, 4096)
                _report_ended(running)
            if control in ready:
                message, fds, *_ = socket.recv_fds(control, _MOST_BYTES, 4)
                if not message:
                    _leave(running)
                report = socket.socket(fileno=fds[0])
                if (pid := os.fork()) == 0:
                    break
                for fd in fds[1:]:
                    os.close(fd)
                running[pid] = report
                report.send(b"%d" % pid)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for held in (control, report, *running.values()):
        held.close()
    for fd in (ended, wake):
        os.close(fd)
    return _become(message, fds[1:])


def _report_ended(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as report:
            code = os.waitstatus_to_exitcode(status)
            # Nobody may be left who wants to know.
            report.sendmsg([b"%d" % code], [], socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)


def _leave(running: dict[int, socket.socket]) -> NoReturn:
    """End with the tests, and end what they left behind."""
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


def _become(message: bytes, streams: Sequence[int]) -> list[str]:
    """Make this process the one that was asked for; returns its arguments."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    # The interpreter's own know what kind of files they had.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    asked = json.loads(message)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    arguments: list[str] = asked["arguments"]
    return arguments


if __name__ == "__main__":
    import_all()
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.argv = [str(Path(buffr.__path__[0], "__main__.py")), *serve(control)]
    from buffr.__main__ import main

    main()
