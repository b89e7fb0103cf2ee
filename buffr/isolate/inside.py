"""The processes inside: one that makes the namespaces, and the init that runs the command.

Both are forks of buffr from before it has threads, and before it imports what
serves. ``maker`` unshares, and waits for its child: a new process namespace
begins with the next child. ``_Init`` is that child, process 1 inside. When it
ends, the kernel ends every other process inside; and it ends when the command
does, or buffr, whichever way.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from buffr.isolate import netlink
from buffr.isolate.attempts import Outside, Supervisor
from buffr.isolate.plan import LOG_GROUP, MARK, Plan, links
from buffr.isolate.seccomp import Listener
from buffr.isolate.switches import STEPS

__all__ = [
    "ENDED",
    "FAILED",
    "GO",
    "MAPPED",
    "NOT_STARTED",
    "READY",
    "SIGNAL",
    "STARTED",
    "UNSHARED",
    "make",
]

UNSHARED, MAPPED, READY, GO = b"u", b"m", b"r", b"g"
SIGNAL = b"s"
STARTED, ENDED, NOT_STARTED, FAILED = b"S", b"e", b"n", b"f"
"""What the two sides tell each other: one byte, then a number where there is one."""

_NEW_USER, _NEW_NET, _NEW_NS, _NEW_PID = 0x10000000, 0x40000000, 0x00020000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 0x2, 0x4, 0x8, 0x1000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_SET_PARENT_DEATH_SIGNAL, _SET_NAME = 1, 15
_NETLINK_ROUTE, _NETLINK_DIAG, _NETLINK_NETFILTER = 0, 4, 12
_BACKLOG = 1024


class _StepFailed(Exception):
    def __init__(self, step: str, number: int) -> None:
        super().__init__(step)
        self.step = STEPS.index(step)
        self.number = number


class _Kernel:
    """The system calls that Python has no function for."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def unshare(self, step: str, flag: int) -> None:
        self._check(step, self._libc.unshare(flag))

    def mount(
        self, step: str, source: str | Path, target: str | Path, kind: str | None, flags: int
    ) -> None:
        name = None if kind is None else kind.encode()
        self._check(
            step,
            self._libc.mount(
                os.fsencode(source), os.fsencode(target), name, ctypes.c_ulong(flags), None
            ),
        )

    def end_with_parent(self) -> None:
        self._libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)

    def be_called(self, name: bytes) -> None:
        self._libc.prctl(_SET_NAME, name, 0, 0, 0)

    @staticmethod
    def _check(step: str, result: int) -> None:
        if result:
            raise _StepFailed(step, ctypes.get_errno())


def make(plan: Plan, control: socket.socket, sockets: socket.socket) -> NoReturn:
    """Make the namespaces and run the command in them, in a process forked for it.

    ``control`` leads to buffr; over ``sockets`` those opened inside are handed out.
    """
    try:
        _maker(plan, control, sockets)
    except _StepFailed as error:
        _tell(control, FAILED, error.step << 16 | error.number)
    except Exception as error:  # noqa: BLE001  # a defect, which nobody above this could report
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(1)


def _maker(plan: Plan, control: socket.socket, sockets: socket.socket) -> None:
    kernel = _Kernel()
    kernel.be_called(b"buffr-isolate")
    outside = Outside()
    kernel.unshare("a user namespace", _NEW_USER)
    control.sendall(UNSHARED)
    if control.recv(1) != MAPPED:
        return
    kernel.end_with_parent()
    kernel.unshare("a network namespace", _NEW_NET)
    kernel.unshare("a mount namespace", _NEW_NS)
    kernel.unshare("a process namespace", _NEW_PID)
    init = os.fork()
    if not init:
        _Init(kernel, plan, control, sockets, outside).run()
        return
    control.close()
    sockets.close()
    # What the terminal's keys send is for the command.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _let_go_of_streams()
    os.waitpid(init, 0)


def _let_go_of_streams() -> None:
    """Whoever reads what the command writes waits for the end of all who could write."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)


def _tell(control: socket.socket, what: bytes, number: int) -> None:
    control.sendall(what + struct.pack("=I", number))


class _Init:
    """Process 1: it runs the command, passes signals on, and takes care of orphans."""

    def __init__(
        self,
        kernel: _Kernel,
        plan: Plan,
        control: socket.socket,
        sockets: socket.socket,
        outside: Outside,
    ) -> None:
        self._kernel = kernel
        self._plan = plan
        self._control = control
        self._sockets = sockets
        self._outside = outside
        self._reports, self._reported = socket.socketpair(type=socket.SOCK_DGRAM)

    def run(self) -> None:
        """Set everything up, wait for buffr's word, and run the command to its end."""
        self._kernel.end_with_parent()
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            # Process 1 does not receive signals for which it has no handler.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._own_mounts()
        self._network()
        self._hand_out()
        self._control.sendall(READY)
        if self._control.recv(1) != GO:
            return
        for mount in self._plan.mounts:
            self._kernel.mount("files of its own", mount.source, mount.target, None, _MS_BIND)
        supervisor = self._supervisor()
        waking, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            process = subprocess.Popen(  # noqa: S603
                self._plan.command, env=self._plan.environ, close_fds=False
            )
        except OSError as error:
            _tell(self._control, NOT_STARTED, error.errno or errno.EIO)
            return
        _tell(self._control, STARTED, process.pid)
        _let_go_of_streams()
        self._serve(process.pid, waking, supervisor)

    def _own_mounts(self) -> None:
        self._kernel.mount("mounts of its own", "none", "/", None, _MS_REC | _MS_SLAVE)
        flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        self._kernel.mount("a /proc of its own", "proc", "/proc", "proc", flags)

    def _network(self) -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as route:
            messages = links(self._plan.families)
            _send("a loopback interface of its own", route, b"".join(messages), len(messages))
        rules = self._plan.rules
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as filters:
            _send("nftables rules of its own", filters, rules, netlink.expected(rules))

    def _hand_out(self) -> None:
        log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        _send("an nftables log of its own", log, netlink.bound_log(LOG_GROUP), 2)
        opened = [log, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_DIAG)]
        opened += [self._reported, *map(_raw, self._plan.families)]
        for door in self._plan.doors:
            try:
                opened.append(_opened(door.family, door.kind, door.address))
            except OSError as error:
                raise _StepFailed("sockets of its own", error.errno or errno.EIO) from error
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        socket.send_fds(self._sockets, [b"o"], [*(one.fileno() for one in opened), proc])
        os.close(proc)
        for one in opened:
            one.close()

    def _supervisor(self) -> Supervisor | None:
        """Who sees calls that lead out; from now on, they wait for that."""
        calls = Listener.begin()
        if calls is None:
            return None
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        return Supervisor(calls, self._outside, self._reports, proc)

    def _serve(self, command: int, waking: int, supervisor: Supervisor | None) -> None:
        """Wait for the command's end, and for what buffr wants meanwhile."""
        doing: dict[int, Callable[[], bool]] = {
            self._control.fileno(): lambda: self._signal(command),
            self._sockets.fileno(): self._socket,
            waking: lambda: self._reap(command, waking),
        }
        if supervisor is not None:
            doing[supervisor.fileno()] = supervisor.serve
        poll = select.poll()
        for one in doing:
            poll.register(one, select.POLLIN)
        while all(doing[ready]() for ready, _ in poll.poll()):
            pass

    def _signal(self, command: int) -> bool:
        told = self._control.recv(5)
        if len(told) < 5:  # buffr is gone
            return False
        os.kill(command, told[1])
        return True

    def _socket(self) -> bool:
        """Hand out one more socket, for a connection that begins outside."""
        family = self._sockets.recv(1)
        if not family:
            return False
        with socket.socket(family[0], socket.SOCK_STREAM) as made:
            socket.send_fds(self._sockets, [b"o"], [made.fileno()])
        return True

    def _reap(self, command: int, waking: int) -> bool:
        os.read(waking, 512)
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not ended:
                return True
            if ended == command:
                _tell(self._control, ENDED, status)
                return False


def _send(step: str, kernel: socket.socket, messages: bytes, expected: int) -> None:
    """Send netlink messages, and see that the kernel accepts all of them."""
    kernel.sendto(messages, (0, 0))
    answered = 0
    while answered < expected:
        count, failed = netlink.failures(kernel.recv(1 << 16))
        if failed:
            raise _StepFailed(step, failed[0].errno)
        answered += count


def _raw(family: int) -> socket.socket:
    """A socket that sends packets as they are, with their IP header."""
    made = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    made.setblocking(False)
    return made


def _opened(family: int, kind: int, address: tuple[str, int]) -> socket.socket:
    made = socket.socket(family, kind)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(_BACKLOG)
    made.setblocking(False)
    return made
