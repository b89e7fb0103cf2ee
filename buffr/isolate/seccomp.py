"""System calls of a command that the kernel shows to process 1 before it makes them.

A filter (seccomp(2)) picks them by their numbers and arguments. It costs
other calls next to nothing. It cannot follow pointers: so ``connect`` is
picked by the length of its address, which that of no Internet address has.
A call that was shown waits for its answer (seccomp_unotify(2)). Numbers are
those of the kernel's ``linux/seccomp.h``, ``linux/bpf_common.h`` and
``linux/audit.h``.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

__all__ = ["ARCHITECTURES", "NEW_NET", "SHOWN", "Architecture", "Call", "Listener", "program"]

NEW_NET = 0x40000000

_LOAD, _AND, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, SHOWN = 0x7FFF0000, 0x7FC00000

_SET_FILTER = 1
_SPECULATION_AS_BEFORE, _NEW_LISTENER = 0x4, 0x8
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_SINCE = (5, 5)
"""The first Linux in which a call that was shown can go on."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_PACKET, _VSOCK = 17, 40
_ICMP = (1, 58)
_TYPE = 0xF
"""What of a socket's type is not a flag."""
_LENGTHS = (16, 28)
"""Of the addresses of IPv4 and IPv6."""

Instruction = tuple[int, int, int, int]
"""Code, how many to skip if true, how many if not, and an operand."""


@frozen
class Architecture:
    """Its audit number, and the numbers of its calls."""

    number: int
    seccomp: int
    calls: Mapping[str, int]


_NAMES = ("socket", "connect", "clone", "unshare", "setns")
ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 317, dict(zip(_NAMES, (41, 42, 56, 272, 308), strict=True))),
    "aarch64": Architecture(
        0xC00000B7, 277, dict(zip(_NAMES, (198, 203, 220, 97, 268), strict=True))
    ),
}


@frozen
class _Is:
    """Whether an argument, or the part of it under a mask, is one of these values."""

    argument: int
    values: Sequence[int]
    mask: int = 0

    def code(self, skip: int) -> list[Instruction]:
        """Goes on if it is so, else skips ``skip`` instructions."""
        left = len(self.values)
        found = _loaded(self.argument, self.mask)
        for value in self.values:
            left -= 1
            found.append((_IF_EQUAL, left, 0 if left else skip, value))
        return found


@frozen
class _IsNot:
    """Whether an argument is none of these values."""

    argument: int
    values: Sequence[int]

    def code(self, skip: int) -> list[Instruction]:
        left = len(self.values)
        found = _loaded(self.argument)
        for value in self.values:
            left -= 1
            found.append((_IF_EQUAL, left + skip, 0, value))
        return found


@frozen
class _Has:
    """Whether an argument has a flag."""

    argument: int
    flag: int

    def code(self, skip: int) -> list[Instruction]:
        return [*_loaded(self.argument), (_IF_ANY_BIT, 0, skip, self.flag)]


Test = _Is | _IsNot | _Has

_SHOWN_IF: dict[str, Sequence[Sequence[Test]]] = {
    "socket": (
        (_Is(0, (_PACKET, _VSOCK)),),
        (_Is(0, _INTERNET), _Is(1, (socket.SOCK_RAW,), _TYPE)),
        (_Is(0, _INTERNET), _Is(1, (socket.SOCK_DGRAM,), _TYPE), _Is(2, _ICMP)),
    ),
    "connect": ((_IsNot(2, _LENGTHS),),),
    "clone": ((_Has(0, NEW_NET),),),
    "unshare": ((_Has(0, NEW_NET),),),
    "setns": ((),),
}
"""A call is shown if all tests of one row are true."""


def _loaded(argument: int, mask: int = 0) -> list[Instruction]:
    """The lower half of an argument, which comes first; no flag or number has more."""
    load = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)
    return [load, (_AND, 0, 0, mask)] if mask else [load]


def program(architecture: Architecture) -> list[Instruction]:
    """The filter. Calls by another architecture's numbers are allowed: few programs make any."""
    found: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, architecture.number),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for name, rows in _SHOWN_IF.items():
        judged = [*(one for row in rows for one in _row(row)), (_RETURN, 0, 0, _ALLOW)]
        found += [(_IF_EQUAL, 0, len(judged), architecture.calls[name]), *judged]
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _row(tests: Iterable[Test]) -> list[Instruction]:
    """Shows the call if all tests are true, else goes on behind."""
    found: list[Instruction] = [(_RETURN, 0, 0, SHOWN)]
    for test in reversed([*tests]):
        found = test.code(len(found)) + found
    return found


@frozen
class Call:
    """A call that waits. ``thread`` is that which makes it, as a number inside."""

    ident: int
    thread: int
    name: str
    arguments: tuple[int, ...]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Listener:
    """Receives the calls of this process and of all that it starts from now on.

    This process must make no call itself that would be shown.
    """

    def __init__(self, descriptor: int, architecture: Architecture) -> None:
        self._descriptor = descriptor
        self._names = {number: name for name, number in architecture.calls.items()}

    @classmethod
    def begin(cls) -> Listener | None:
        """Filter the calls, if this system lets it.

        It does so if nothing around has such a listener already. A process
        that is privileged in its own user namespace need not give up what
        programs with set-user-ID bits can do (``no_new_privs``).
        """
        architecture = ARCHITECTURES.get(os.uname().machine)
        if architecture is None or sys.maxsize < 1 << 32 or _release() < _SINCE:
            return None
        instructions = program(architecture)
        code = b"".join(struct.pack("=HBBI", *one) for one in instructions)
        flags = _NEW_LISTENER | _SPECULATION_AS_BEFORE
        descriptor = ctypes.CDLL(None, use_errno=True).syscall(
            ctypes.c_long(architecture.seccomp),
            ctypes.c_long(_SET_FILTER),
            ctypes.c_long(flags),
            ctypes.byref(_Program(len(instructions), code)),
        )
        return None if descriptor < 0 else cls(descriptor, architecture)

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> Call | None:
        """The call that waits; ``None`` if its process has gone meanwhile."""
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._descriptor, _RECEIVE, notice)
        except OSError:
            return None
        ident, thread, _, number, _, _, *arguments = _NOTICE.unpack(notice)
        return Call(ident, thread, self._names[number], tuple(arguments))

    def answer(self, call: Call, error: int = 0) -> None:
        """Let the kernel make a call, or have it fail with an ``errno``."""
        said = bytearray(_ANSWER.pack(call.ident, 0, -error, 0 if error else _CONTINUE))
        try:
            fcntl.ioctl(self._descriptor, _SEND, said)
        except OSError:
            return  # its process has gone meanwhile


def _release() -> tuple[int, ...]:
    major, minor, *_ = os.uname().release.split(".")
    return int(major), int("".join(filter(str.isdigit, minor)))
