"""What is refused inside: seen, named, and where rules refuse it, answered as a closed port."""

from __future__ import annotations

import socket

from attrs import define
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.isolate import netlink
from buffr.isolate.attempts import Attempt, Kind
from buffr.isolate.first_bytes import SERVER_FIRST
from buffr.isolate.ledger import Ledger, Refusal
from buffr.isolate.names import Names
from buffr.isolate.namespace import HandedOut
from buffr.isolate.packets import ICMP, ICMPV6, TCP, UDP, Packet, parsed, reset_of, unreachable
from buffr.isolate.programs import Program, Programs
from buffr.log import say
from buffr.origin import host_and_port

__all__ = ["AttemptWatch", "Watch", "tell"]

_MOST_A_TURN = 64
_LONGEST = 1 << 16
_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
_HTTP3 = 443
_CLOSED = {
    Kind.RAW: "a socket for ICMP, or for packets as they are, needs privileges",
    Kind.PACKET: "a socket for packets as they are needs privileges",
    Kind.VSOCK: "it leads to the host of this virtual machine",
    Kind.ABSTRACT: "an abstract Unix socket of this machine, which is outside",
    Kind.OUTSIDE: "the network namespace outside",
}


def tell(ledger: Ledger, refusal: Refusal, program: Program) -> None:
    """Count an attempt that was refused, and say so the first time."""
    if not ledger.refused(refusal):
        return
    pairs = {"program": program.name}
    if program.pid:
        pairs["pid"] = str(program.pid)
    pairs |= {"host": refusal.host}
    if refusal.port:
        pairs["port"] = str(refusal.port)
    pairs |= {"protocol": refusal.protocol, "err": refusal.why}
    if refusal.flag:
        pairs["hint"] = f"{refusal.flag} lets it pass, unrecorded"
    say(LogLevel.warn, "refused inside", **pairs)


@implementer(IReadDescriptor)
@define(eq=False)
class Watch:
    """Reads what the rules log, for the reactor."""

    _out: HandedOut
    _names: Names
    _programs: Programs
    _ledger: Ledger

    def fileno(self) -> int:
        return self._out.log.fileno()

    def logPrefix(self) -> str:
        return "watch"

    def doRead(self) -> None:
        """Take what has come, up to a bound, so that a flood leaves time for others."""
        for _ in range(_MOST_A_TURN):
            try:
                received = self._out.log.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: more came than the kernel keeps
                continue
            for one in netlink.logs(received):
                packet = parsed(one.packet)
                if packet is not None:
                    self._refused(one.prefix, packet)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""

    def _refused(self, rule: str, packet: Packet) -> None:
        if rule == "lo":
            self._loopback(packet)
            return
        program = self._program(packet)
        host = self._names.name_of(packet.target.packed) or str(packet.target)
        protocol = _PROTOCOLS.get(packet.protocol, f"protocol {packet.protocol}")
        port = packet.target_port
        flag = f"--allow {host_and_port(host, port)}" if packet.protocol == TCP else ""
        refusal = Refusal(program.name, protocol, host, port, _reason(rule, packet), flag)
        tell(self._ledger, refusal, program)
        if packet.protocol == TCP:
            self._send(packet, reset_of(packet))
        else:
            self._send(packet, unreachable(packet))

    def _loopback(self, reset: Packet) -> None:
        """A closed port's own answer, which was held back until its client was known."""
        client = reset.target.packed, reset.target_port
        service = reset.source.packed, reset.source_port
        program = self._programs.of(TCP, client, service)
        refusal = Refusal(
            program.name,
            "tcp",
            str(reset.source),
            reset.source_port,
            "it is a service of this machine, which is outside",
            f"--allow 127.0.0.1:{reset.source_port}",
        )
        tell(self._ledger, refusal, program)
        self._out.raw[_family(reset)].sendto(reset.raw, (str(reset.target), 0))

    def _program(self, packet: Packet) -> Program:
        if packet.protocol in (TCP, UDP):
            own = packet.source.packed, packet.source_port
            other = packet.target.packed, packet.target_port
            return self._programs.of(packet.protocol, own, other)
        return self._programs.of_raw()

    def _send(self, to: Packet, raw: bytes) -> None:
        try:
            self._out.raw[_family(to)].sendto(raw, (str(to.source), 0))
        except OSError:
            return  # the client sends again, or gives up


@implementer(IReadDescriptor)
@define(eq=False)
class AttemptWatch:
    """Reads what process 1 saw programs attempt, for the reactor."""

    _reports: socket.socket
    _ledger: Ledger

    def fileno(self) -> int:
        return self._reports.fileno()

    def logPrefix(self) -> str:
        return "attempts"

    def doRead(self) -> None:
        for _ in range(_MOST_A_TURN):
            try:
                received = self._reports.recv(_LONGEST)
            except OSError:  # no more has come
                return
            if not received:  # process 1 has ended
                return
            self._attempted(Attempt.decoded(received))

    def _attempted(self, one: Attempt) -> None:
        if one.kind is Kind.NESTED:
            self._ledger.made_namespace(one.program.name)
            pairs = {"program": one.program.name, "pid": str(one.program.pid)}
            say(LogLevel.info, "network namespace made inside, without a network", **pairs)
            return
        why = _CLOSED[one.kind]
        tell(
            self._ledger, Refusal(one.program.name, one.kind.value, one.where, 0, why), one.program
        )

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""


def _family(packet: Packet) -> int:
    return socket.AF_INET if packet.source.version == 4 else socket.AF_INET6


def _reason(rule: str, packet: Packet) -> str:
    match rule:
        case "port":
            return f"{SERVER_FIRST[packet.target_port]} cannot be recorded"
        case "metadata":
            return "a link-local address, where clouds have their credentials"
        case "udp" if packet.target_port == _HTTP3:
            return "UDP cannot be recorded; clients of HTTP/3 go back to TCP"
        case "udp":
            return "UDP cannot be recorded"
        case _:
            return "neither TCP nor UDP"
