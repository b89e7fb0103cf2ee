"""Which program inside a connection is of: by the kernel's own tables of sockets.

The kernel is asked for the socket (sock_diag(7)), and ``/proc`` for the
process that has it open. Both show the inside alone.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field, frozen

from buffr.isolate.packets import UDP

__all__ = ["UNKNOWN", "End", "Program", "Programs", "file_of", "program_of"]

_BY_FAMILY = 20
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_INODE_AT = 16 + 68
_HEAD = struct.pack("=IHHII", 16 + 8 + 48, _BY_FAMILY, 1, 0, 0)
_INIT = 1
_MOST_LINKS = 4000
"""How many open files are looked at for one connection, which takes a few milliseconds."""
_MOST_REMEMBERED = 8
_READ_BYTES = 1 << 16

End = tuple[bytes, int]
"""An address, as 4 or 16 bytes, and a port."""


@frozen
class Program:
    """A process inside: its number there, and the first word of its command line."""

    name: str
    pid: int


UNKNOWN = Program("a program that has ended", 0)


@define(eq=False)
class Programs:
    """Looks programs up. ``diagnosis`` and ``proc`` were opened inside."""

    _diagnosis: socket.socket
    _proc: int
    _lately: OrderedDict[int, int] = field(factory=OrderedDict)
    """The processes that were found lately, and with which open file."""

    def of(self, protocol: int, own: End, other: End) -> Program:
        """The program whose socket is at ``own``, and connected to ``other``."""
        number = self._inode(protocol, own, other)
        return self._with_open(f"socket:[{number}]") if number else UNKNOWN

    def of_raw(self) -> Program:
        """A program that has a socket for packets of protocols without ports, such as ICMP."""
        for table in ("icmp", "icmp6", "raw", "raw6"):
            for number in self._listed(table):
                found = self._with_open(f"socket:[{number}]")
                if found is not UNKNOWN:
                    return found
        return UNKNOWN

    def _inode(self, protocol: int, own: End, other: End) -> int:
        # For UDP the two ends are swapped, "for historical reasons" (net/ipv4/udp_diag.c).
        near, far = (other, own) if protocol == UDP else (own, other)
        family = socket.AF_INET if len(own[0]) == 4 else socket.AF_INET6
        asked = struct.pack("=BBBBI", family, protocol, 0, 0, _ANY_STATE)
        identity = struct.pack(">HH16s16s4x8s", near[1], far[1], near[0], far[0], _NO_COOKIE)
        try:
            self._diagnosis.send(_HEAD + asked + identity)
            # The kernel answers within the call.
            answer = self._diagnosis.recv(4096)
        except OSError:
            return 0
        (kind,) = struct.unpack_from("=H", answer, 4)
        if kind != _BY_FAMILY or len(answer) < _INODE_AT + 4:
            return 0
        (inode,) = struct.unpack_from("=I", answer, _INODE_AT)
        return int(inode)

    def _listed(self, table: str) -> Iterator[str]:
        """The inodes in one of the kernel's tables of sockets."""
        rows = file_of(self._proc, _INIT, f"net/{table}").decode("ascii", "replace").splitlines()
        for row in rows[1:]:
            yield row.split()[9]

    def _with_open(self, link: str) -> Program:
        for pid, file in reversed(self._lately.items()):
            # One connection after the other has the same number, several have the next ones.
            for near in (file, file + 1):
                if self._link(pid, near) == link:
                    return self._found(pid, near)
        left = _MOST_LINKS
        for pid in self._pids():
            for file in self._files(pid):
                left -= 1
                if left < 0:
                    return UNKNOWN
                if self._link(pid, file) == link:
                    return self._found(pid, file)
        return UNKNOWN

    def _link(self, pid: int, file: int) -> str:
        try:
            return os.readlink(f"{pid}/fd/{file}", dir_fd=self._proc)
        except OSError:
            return ""

    def _pids(self) -> list[int]:
        """The processes inside: first those that were found lately, then the newest."""
        pids = sorted((int(name) for name in _names(self._proc) if name.isdigit()), reverse=True)
        return [*reversed(self._lately), *(one for one in pids if one not in self._lately)]

    def _files(self, pid: int) -> list[int]:
        """The open files of a process: a new connection has one of the highest numbers."""
        if pid == _INIT:
            return []
        try:
            return sorted(map(int, _names(f"/proc/self/fd/{self._proc}/{pid}/fd")), reverse=True)
        except OSError:
            return []

    def _found(self, pid: int, file: int) -> Program:
        self._lately[pid] = file
        self._lately.move_to_end(pid)
        if len(self._lately) > _MOST_REMEMBERED:
            self._lately.popitem(last=False)
        # It may have become another program since the last time.
        return program_of(self._proc, pid)


def program_of(proc: int, pid: int) -> Program:
    """A process, by a directory of processes that is open."""
    first = file_of(proc, pid, "cmdline").partition(b"\0")[0]
    name = first.rstrip(b"/").rpartition(b"/")[2] or file_of(proc, pid, "comm").strip()
    return Program(os.fsdecode(name), pid)


def file_of(proc: int, pid: int, name: str) -> bytes:
    """The beginning of a file of a process; empty if it cannot be read."""
    try:
        descriptor = os.open(f"{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _names(directory: int | str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]
