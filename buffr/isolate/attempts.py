"""Ways out that the kernel itself closes, seen as a program tries them.

No packet tells of a raw socket that an unprivileged user may not have, of an
abstract Unix socket of the machine outside, or of its network namespace. So
process 1 looks at the system calls that would open them, lets the kernel
refuse them as it always does, and sends word to buffr. It alone knows the
processes by the numbers that these calls come with, and may look into their
memory.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from attrs import define, field, frozen

from buffr.isolate.programs import Program, file_of, program_of
from buffr.isolate.seccomp import NEW_NET, Call, Listener

__all__ = ["Attempt", "Kind", "Outside", "Supervisor"]

_NET_RAW = 1 << 13
"""The capability to have raw sockets (capabilities(7))."""
_PACKET, _VSOCK = 17, 40
_UNIX_AT_MOST = 110
_CHUNK = 1 << 16
_READING = os.O_RDONLY | os.O_CLOEXEC


class Kind(StrEnum):
    """What an attempt would have opened."""

    RAW = "icmp"
    PACKET = "packet"
    VSOCK = "vsock"
    ABSTRACT = "unix"
    OUTSIDE = "setns"
    NESTED = "nested"
    """A network namespace of the program's own: allowed, and without a way out."""


@frozen
class Attempt:
    """An attempt of a program. ``where`` is what it would have reached, if that is known."""

    kind: Kind
    program: Program
    where: str = "*"

    def encoded(self) -> bytes:
        """A datagram."""
        parts = (self.kind.value, str(self.program.pid), self.where, self.program.name)
        return os.fsencode("\0".join(parts))

    @classmethod
    def decoded(cls, datagram: bytes) -> Attempt:
        """The attempt in a datagram."""
        kind, pid, where, name = os.fsdecode(datagram).split("\0", 3)
        return cls(Kind(kind), Program(name, int(pid)), where)


@define(eq=False)
class Outside:
    """What is outside, opened there: its network namespace, and its table of Unix sockets."""

    network: str = field(factory=lambda: str(Path("/proc/self/ns/net").readlink()))
    _table: int = field(factory=lambda: os.open("/proc/self/net/unix", _READING))

    def has_abstract(self, name: str) -> bool:
        """Whether somebody listens at an abstract Unix socket there now."""
        os.lseek(self._table, 0, os.SEEK_SET)
        return name in _abstract_names(_rest(self._table))


@define(eq=False)
class Supervisor:
    """Answers the calls that process 1 is shown, and tells ``reports`` of those that lead out.

    ``proc`` is the directory of processes inside. When nobody reads the
    reports, those are lost that the socket has no room for.
    """

    _calls: Listener
    _outside: Outside
    _reports: socket.socket
    _proc: int

    def fileno(self) -> int:
        return self._calls.fileno()

    def serve(self) -> bool:
        """Answer the call that waits. Returns whether to go on, which is so in any case."""
        call = self._calls.receive()
        if call is None:
            return True
        attempt = None
        # Whatever a program does meanwhile, its call must have an answer, and process 1 go on.
        with suppress(Exception):
            attempt = self._judged(call)
        if attempt is not None:
            with suppress(OSError):
                self._reports.send(attempt.encoded(), socket.MSG_DONTWAIT)
        refused = attempt is not None and attempt.kind is Kind.VSOCK
        self._calls.answer(call, errno.EAFNOSUPPORT if refused else 0)
        return True

    def _judged(self, call: Call) -> Attempt | None:
        """What a call attempts; ``None`` if it may well succeed, or would fail outside, too."""
        match call.name:
            case "socket":
                return self._socket(call)
            case "connect":
                name = self._abstract_name(call)
                if name is None or self._is_inside(call, name):
                    return None
                there = self._outside.has_abstract(name)
                return self._attempt(Kind.ABSTRACT, call, name) if there else None
            case "setns":
                link = self._link_of_namespace(call)
                outside = link == self._outside.network
                return self._attempt(Kind.OUTSIDE, call, link) if outside else None
            case _:
                assert call.arguments[0] & NEW_NET
                return self._attempt(Kind.NESTED, call)

    def _socket(self, call: Call) -> Attempt | None:
        family = call.arguments[0]
        if family == _VSOCK:
            return self._attempt(Kind.VSOCK, call)
        status = self._status(call.thread)
        if int(status["CapEff"], 16) & _NET_RAW:  # it may: what it sends has a line
            return None
        return self._attempt(Kind.PACKET if family == _PACKET else Kind.RAW, call)

    def _abstract_name(self, call: Call) -> str | None:
        """The name of the socket that a call connects to; ``None`` if it has a path, or no name."""
        _, at, length, *_ = call.arguments
        memory = os.open(f"{call.thread}/mem", _READING, dir_fd=self._proc)
        try:
            address = os.pread(memory, min(length, _UNIX_AT_MOST), at)
        finally:
            os.close(memory)
        family = int.from_bytes(address[:2], "little")
        if family != socket.AF_UNIX or len(address) < 4 or address[2]:
            return None
        # As the kernel's table spells it.
        return os.fsdecode(address[2:].replace(b"\0", b"@"))

    def _is_inside(self, call: Call, name: str) -> bool:
        table = os.open(f"{call.thread}/net/unix", _READING, dir_fd=self._proc)
        try:
            return name in _abstract_names(_rest(table))
        finally:
            os.close(table)

    def _link_of_namespace(self, call: Call) -> str:
        return os.readlink(f"{call.thread}/fd/{call.arguments[0]}", dir_fd=self._proc)

    def _status(self, thread: int) -> dict[str, str]:
        lines = file_of(self._proc, thread, "status").decode("ascii", "replace").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def _attempt(self, kind: Kind, call: Call, where: str = "*") -> Attempt:
        process = int(self._status(call.thread)["Tgid"])
        return Attempt(kind, program_of(self._proc, process), where)


def _rest(file: int) -> bytes:
    found = []
    while chunk := os.read(file, _CHUNK):
        found.append(chunk)
    return b"".join(found)


def _abstract_names(table: bytes) -> set[str]:
    """The abstract names in the kernel's table of Unix sockets (proc_net_unix)."""
    rows = (line.split(maxsplit=7) for line in table.splitlines()[1:])
    return {os.fsdecode(row[7]) for row in rows if len(row) == 8 and row[7].startswith(b"@")}
