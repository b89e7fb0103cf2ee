"""The filter as the kernel runs it: which calls are shown to process 1, and which go by."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate.seccomp import ARCHITECTURES, NEW_NET, SHOWN, Architecture, program

PACKET, VSOCK, NETLINK = 17, 40, 16
NEW_USER, NEW_PID = 0x10000000, 0x20000000
CLOEXEC = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
THREAD = 0x3D0F00
"""What pthread_create(3) clones with."""

every_architecture = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=[*ARCHITECTURES])


def shown(arch: Architecture, name: str, *arguments: int) -> bool:
    return ran(arch, arch.number, arch.calls[name], arguments) == SHOWN


def ran(arch: Architecture, number: int, call: int, arguments: tuple[int, ...]) -> int:
    """What the filter returns for a call. The interpreter is that of seccomp(2)'s subset."""
    data = struct.pack("<iIQ6Q", call, number, 0, *arguments, *(0,) * (6 - len(arguments)))
    instructions = program(arch)
    at, accumulator = 0, 0
    while True:
        code, yes, no, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x15:
                at += yes if accumulator == operand else no
            case 0x45:
                at += yes if accumulator & operand else no
            case 0x06:
                return operand
            case _:
                raise AssertionError(code)


@every_architecture
class TestShown:
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("socket", (socket.AF_INET, socket.SOCK_RAW, 1)),
            ("socket", (socket.AF_INET6, socket.SOCK_RAW | CLOEXEC, 255)),
            ("socket", (socket.AF_INET, socket.SOCK_DGRAM | CLOEXEC, 1)),
            ("socket", (socket.AF_INET6, socket.SOCK_DGRAM, 58)),
            ("socket", (PACKET, socket.SOCK_DGRAM, 0)),
            ("socket", (VSOCK, socket.SOCK_STREAM, 0)),
            ("connect", (3, 0x7FFF0000, 110)),
            ("connect", (3, 0x7FFF0000, 15)),
            ("unshare", (NEW_NET,)),
            ("unshare", (NEW_USER | NEW_NET,)),
            ("clone", (NEW_USER | NEW_PID | NEW_NET | 17,)),
            ("setns", (3, NEW_NET)),
            ("setns", (3, 0)),
        ],
    )
    def test_what_may_lead_out(
        self, arch: Architecture, name: str, arguments: tuple[int, ...]
    ) -> None:
        assert shown(arch, name, *arguments)

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("socket", (socket.AF_INET, socket.SOCK_STREAM | CLOEXEC, 0)),
            ("socket", (socket.AF_INET, socket.SOCK_STREAM, 6)),
            ("socket", (socket.AF_INET6, socket.SOCK_DGRAM, 17)),
            ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 1)),
            ("socket", (NETLINK, socket.SOCK_RAW | CLOEXEC, 0)),
            ("connect", (3, 0x7FFF0000, 16)),
            ("connect", (3, 0x7FFF0000, 28)),
            ("unshare", (NEW_USER | NEW_PID,)),
            ("clone", (THREAD,)),
            ("clone", (17,)),
        ],
    )
    def test_what_every_program_does(
        self, arch: Architecture, name: str, arguments: tuple[int, ...]
    ) -> None:
        """No connection and no thread waits for process 1."""
        assert not shown(arch, name, *arguments)

    def test_numbers_of_another_architecture(self, arch: Architecture) -> None:
        """They mean other calls: 41 is ``dup`` to 32-bit programs."""
        arguments = (socket.AF_INET, socket.SOCK_RAW, 1)
        assert ran(arch, 0x40000003, arch.calls["socket"], arguments) != SHOWN

    @given(call=st.integers(0, 1 << 16), arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6))
    def test_it_always_ends(
        self, arch: Architecture, call: int, arguments: tuple[int, ...]
    ) -> None:
        """And shows no call but those that it names."""
        said = ran(arch, arch.number, call, arguments)
        assert said != SHOWN or call in arch.calls.values()
