"""The namespaces of one command, as buffr sees them from outside."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field, frozen

from buffr.isolate import inside
from buffr.isolate.plan import Door, Plan
from buffr.isolate.switches import STEPS, NoNamespace, forbidden

__all__ = ["HandedOut", "Namespace"]

_MOST_DESCRIPTORS = 250


@frozen
class HandedOut:
    """The sockets that were opened inside.

    ``log`` receives what the rules log; ``diagnosis`` answers which socket
    belongs to which connection; ``attempts`` receives those that no packet
    tells of; ``raw`` send packets, by family; ``proc`` is the directory of
    processes inside.
    """

    log: socket.socket
    diagnosis: socket.socket
    attempts: socket.socket
    raw: Mapping[int, socket.socket]
    doors: tuple[tuple[Door, socket.socket], ...]
    proc: int

    def close(self) -> None:
        """Close all that are still open."""
        doors = (made for _, made in self.doors)
        for one in (self.log, self.diagnosis, self.attempts, *self.raw.values(), *doors):
            one.close()
        os.close(self.proc)


@define(eq=False)
class Namespace:
    """A command that waits inside for its start, or runs there.

    Make it with ``begin``, on the main thread and before others: it forks.
    ``start`` has the command started; until then everything else of buffr can
    be made. Close it in the end, which ends whatever still runs inside.
    """

    _maker: int
    _control: socket.socket
    _sockets: socket.socket
    _handed: HandedOut | None = field(init=False, default=None)

    @property
    def out(self) -> HandedOut:
        """What was handed out of it."""
        assert self._handed is not None
        return self._handed

    @classmethod
    def begin(cls, plan: Plan) -> Namespace:
        """Fork the processes inside, and make the namespaces. Raises ``NoNamespace``."""
        if sys.platform != "linux":
            raise NoNamespace("only Linux has the namespaces that --isolate needs")
        control, theirs = socket.socketpair()
        sockets, their_sockets = socket.socketpair()
        maker = os.fork()
        if not maker:
            control.close()
            sockets.close()
            inside.make(plan, theirs, their_sockets)
        theirs.close()
        their_sockets.close()
        made = cls(maker, control, sockets)
        try:
            made._set_up(plan)
        except BaseException:
            made.close()
            raise
        return made

    def _set_up(self, plan: Plan) -> None:
        self._expect(inside.UNSHARED)
        try:
            _map_ids(self._maker)
        except OSError as error:
            raise forbidden(STEPS[1], error.errno or errno.EIO) from error
        self._control.sendall(inside.MAPPED)
        self._expect(inside.READY)
        _, numbers, _, _ = socket.recv_fds(self._sockets, 1, _MOST_DESCRIPTORS)
        *opened, proc = numbers
        made = [socket.socket(fileno=number) for number in opened]
        for one in made:
            one.setblocking(False)
        log, diagnosis, attempts, *others = made
        count = len(plan.families)
        raw = dict(zip(plan.families, others[:count], strict=True))
        doors = others[count:]
        pairs = tuple(zip(plan.doors, doors, strict=True))
        self._handed = HandedOut(log, diagnosis, attempts, raw, pairs, proc)

    def _expect(self, what: bytes) -> None:
        told = self._control.recv(1)
        if told == what:
            return
        if told == inside.FAILED:
            (number,) = struct.unpack("=I", _exactly(self._control, 4))
            raise forbidden(STEPS[number >> 16], number & 0xFFFF)
        raise NoNamespace("the process that makes the namespaces has ended unexpectedly")

    def start(self) -> None:
        """Have the command started, in which case it exists.

        Raises ``OSError`` if it cannot be run, or ``NoNamespace``.
        """
        self._control.sendall(inside.GO)
        what, number = self._told()
        if what == inside.NOT_STARTED:
            raise OSError(number, os.strerror(number))

    def send(self, number: int) -> None:
        """Send the command a signal, if it still runs."""
        try:
            self._control.sendall(inside.SIGNAL + struct.pack("=I", number))
        except OSError:
            return

    def wait(self) -> int:
        """Wait for the command's end; returns its status as waitpid(2) does."""
        return self._told()[1]

    def _told(self) -> tuple[bytes, int]:
        told = _exactly(self._control, 5)
        if len(told) < 5:
            return inside.ENDED, signal.SIGKILL
        (number,) = struct.unpack("=I", told[1:])
        if told[:1] == inside.FAILED:
            raise forbidden(STEPS[number >> 16], number & 0xFFFF)
        return told[:1], number

    def socket(self, family: int) -> socket.socket:
        """A new TCP socket inside. Raises ``OSError`` if the command has ended."""
        self._sockets.sendall(bytes((family,)))
        _, numbers, _, _ = socket.recv_fds(self._sockets, 1, 1)
        if not numbers:
            raise ConnectionResetError
        return socket.socket(fileno=numbers[0])

    def close(self) -> None:
        """End everything inside, and wait for that."""
        if self._handed is not None:
            self._handed.close()
        self._control.close()
        self._sockets.close()
        os.waitpid(self._maker, 0)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            break
        found += more
    return found


def _map_ids(process: int) -> None:
    """Have the same identifiers inside as outside: all of them for root, else the user's own."""
    place = Path("/proc", str(process))
    if os.geteuid() == 0 and _write_maps(place, _ranges):
        return
    (place / "setgroups").write_text("deny")
    _write_maps(place, lambda kind: f"{_own(kind)} {_own(kind)} 1\n")


def _write_maps(place: Path, lines: Callable[[str], str]) -> bool:
    try:
        for kind in ("uid", "gid"):
            (place / f"{kind}_map").write_text(lines(kind))
    except PermissionError:
        return False
    return True


def _own(kind: str) -> int:
    return os.geteuid() if kind == "uid" else os.getegid()


def _ranges(kind: str) -> str:
    """Every identifier that exists here, mapped to itself."""
    rows = (line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines())
    return "".join(f"{first} {first} {count}\n" for first, _, count in rows)
