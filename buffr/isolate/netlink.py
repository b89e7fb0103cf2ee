"""The netlink messages that make a namespace's network, as bytes.

Two protocols: rtnetlink(7) for the loopback interface with its addresses and
routes, and nfnetlink for nftables' rules and for its log. Numbers are those of
the kernel's ``linux/rtnetlink.h``, ``linux/netfilter/nf_tables.h`` and
``linux/netfilter/nfnetlink_log.h``, which never change.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

__all__ = [
    "ACCEPT",
    "DROP",
    "RETURN",
    "Chain",
    "Expression",
    "Failed",
    "Logged",
    "address",
    "bound_log",
    "destination",
    "destination_port",
    "destination_port_in",
    "expected",
    "failures",
    "is_protocol",
    "link_up",
    "logged",
    "logs",
    "marked",
    "redirected",
    "rules",
    "source_port_in",
    "tcp_reset_of_syn",
    "to_all",
    "translated",
    "verdict",
]

LOOPBACK = 1
"""The index of ``lo``, which is the first interface of every namespace."""

_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_ERROR = 2
_NESTED = 0x8000

Address = IPv4Address | IPv6Address
Expression = bytes
"""One expression of a rule, encoded."""


def _message(kind: int, payload: bytes, *, flags: int = 0, sequence: int = 0) -> bytes:
    head = struct.pack("=IHHII", 16 + len(payload), kind, _REQUEST | flags, sequence, 0)
    return head + payload


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(padding)


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode("ascii") + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


# rtnetlink: the interface, its addresses, its routes.

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_UP = 1
_AF = {4: 2, 6: 10}
_NO_DUPLICATE_CHECK = 0x02
_TABLE_LOCAL, _BY_BOOT, _SCOPE_HOST, _TYPE_LOCAL = 255, 3, 254, 2


def link_up() -> bytes:
    """Bring ``lo`` up, which gives it 127.0.0.1 and ::1."""
    change = struct.pack("=BxHiII", 0, 0, LOOPBACK, _UP, _UP)
    return _message(_NEW_LINK, change, flags=_ACK)


def address(one: Address) -> bytes:
    """Give ``lo`` one more address."""
    head = struct.pack(
        "=BBBBI", _AF[one.version], one.max_prefixlen, _NO_DUPLICATE_CHECK, 0, LOOPBACK
    )
    return _message(
        _NEW_ADDRESS,
        head + _attribute(2, one.packed) + _attribute(1, one.packed),
        flags=_ACK | _CREATE,
    )


def to_all(source: Address) -> bytes:
    """Route every address of a version of IP to ``lo``, as one of this machine.

    Packets to them are from ``source``; otherwise they would be from where they go.
    """
    family = _AF[source.version]
    head = struct.pack(
        "=BBBBBBBBI", family, 0, 0, 0, _TABLE_LOCAL, _BY_BOOT, _SCOPE_HOST, _TYPE_LOCAL, 0
    )
    attributes = _attribute(4, struct.pack("=i", LOOPBACK)) + _attribute(7, source.packed)
    return _message(_NEW_ROUTE, head + attributes, flags=_ACK | _CREATE)


# nftables: a table, its sets of ports, its chains, their rules.

_NFTABLES, _LOG = 10, 4
_INET = 1
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _NEW_SET, _NEW_ELEMENTS = 0, 3, 6, 9, 12
_BATCH_BEGIN, _BATCH_END = 16, 17
_HOOKS = {"input": 1, "output": 3}
_TYPE_OF_PORTS = 13

ACCEPT, DROP, RETURN = 1, 0, -5


@frozen
class Chain:
    """A base chain: at ``input`` or ``output``, and of the kind ``filter`` or ``nat``."""

    name: str
    kind: str
    hook: str
    priority: int
    rules: Sequence[Sequence[Expression]]


def rules(table: str, chains: Iterable[Chain], port_sets: Mapping[str, Sequence[int]]) -> bytes:
    """A table of the family ``inet``, in one batch that is applied whole or not at all."""
    made = [_nft(_NEW_TABLE, _text(1, table))]
    for number, (name, ports) in enumerate(port_sets.items(), 1):
        made += _port_set(table, name, number, ports)
    for chain in chains:
        hook = _nested(4, _number(1, _HOOKS[chain.hook]), _number(2, chain.priority))
        made.append(
            _nft(_NEW_CHAIN, _text(1, table), _text(3, chain.name), hook, _text(7, chain.kind))
        )
        for expressions in chain.rules:
            listed = _nested(4, *(_nested(1, one) for one in expressions))
            made.append(_nft(_NEW_RULE, _text(1, table), _text(2, chain.name), listed))
    begin = _message(_BATCH_BEGIN, struct.pack(">BBH", 0, 0, _NFTABLES))
    end = _message(_BATCH_END, struct.pack(">BBH", 0, 0, _NFTABLES))
    return begin + b"".join(made) + end


def _nft(command: int, *attributes: bytes) -> bytes:
    payload = struct.pack(">BBH", _INET, 0, 0) + b"".join(attributes)
    return _message(_NFTABLES << 8 | command, payload, flags=_ACK | _CREATE | _APPEND)


def _port_set(table: str, name: str, number: int, ports: Iterable[int]) -> list[bytes]:
    made = _nft(
        _NEW_SET,
        _text(1, table),
        _text(2, name),
        _number(3, 0),
        _number(4, _TYPE_OF_PORTS),
        _number(5, 2),
        _number(10, number),
    )
    elements = [
        _nested(1, _nested(1, _attribute(1, struct.pack(">H", port)))) for port in sorted(ports)
    ]
    if not elements:
        return [made]
    filled = _nft(
        _NEW_ELEMENTS, _text(1, table), _text(2, name), _number(4, number), _nested(3, *elements)
    )
    return [made, filled]


def _expression(name: str, *attributes: bytes) -> Expression:
    return _text(1, name) + _nested(2, *attributes)


def _equal(value: bytes, *, unequal: bool = False) -> Expression:
    return _expression("cmp", _number(1, 1), _number(2, int(unequal)), _data(3, value))


def _data(kind: int, value: bytes) -> bytes:
    return _nested(kind, _attribute(1, value))


def _payload(base: int, offset: int, length: int) -> Expression:
    return _expression(
        "payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, length)
    )


def _meta(key: int) -> Expression:
    return _expression("meta", _number(1, 1), _number(2, key))


def _masked(mask: bytes) -> Expression:
    return _expression(
        "bitwise",
        _number(1, 1),
        _number(2, 1),
        _number(3, len(mask)),
        _data(4, mask),
        _data(5, bytes(len(mask))),
    )


def is_protocol(number: int) -> list[Expression]:
    """``meta l4proto NUMBER``: 6 for TCP, 17 for UDP."""
    return [_meta(16), _equal(bytes((number,)))]


def destination(one: Address, prefix: int | None = None) -> list[Expression]:
    """``ip daddr ADDRESS`` or ``ip6 daddr ADDRESS``, with the first ``prefix`` bits alone."""
    family = [_meta(15), _equal(bytes((_AF[one.version],)))]
    offset, length = (16, 4) if one.version == 4 else (24, 16)
    loaded = [_payload(1, offset, length)]
    if prefix is not None and prefix < one.max_prefixlen:
        bits = one.max_prefixlen - prefix
        loaded.append(_masked((((1 << prefix) - 1) << bits).to_bytes(length, "big")))
    return [*family, *loaded, _equal(one.packed)]


def destination_port(port: int) -> list[Expression]:
    """``th dport PORT``."""
    return [_payload(2, 2, 2), _equal(struct.pack(">H", port))]


def destination_port_in(name: str) -> list[Expression]:
    """``th dport @NAME``, of a set of ports."""
    return [_payload(2, 2, 2), _in_set(name)]


def source_port_in(name: str) -> list[Expression]:
    """``th sport @NAME``."""
    return [_payload(2, 0, 2), _in_set(name)]


def _in_set(name: str) -> Expression:
    return _expression("lookup", _text(1, name), _number(2, 1))


def marked(mark: int) -> list[Expression]:
    """``meta mark MARK``: a packet from a socket that has it."""
    return [_meta(3), _equal(struct.pack("=I", mark))]


def translated() -> list[Expression]:
    """``ct status dnat``: a packet of a connection that was redirected already."""
    return [_expression("ct", _number(2, 2), _number(1, 1)), *_bits(0x20)]


def _bits(mask: int) -> list[Expression]:
    return [_masked(struct.pack("=I", mask)), _equal(bytes(4), unequal=True)]


def tcp_reset_of_syn() -> list[Expression]:
    """``tcp flags == rst | ack tcp sequence 0``: what a closed port answers to a connection."""
    return [
        *is_protocol(6),
        _payload(2, 13, 1),
        _equal(b"\x14"),
        _payload(2, 4, 4),
        _equal(bytes(4)),
    ]


def verdict(code: int) -> Expression:
    """``accept``, ``drop`` or ``return``."""
    return _expression("immediate", _number(1, 0), _nested(2, _nested(2, _number(1, code))))


def redirected(port: int) -> list[Expression]:
    """``redirect to :PORT`` of the loopback address."""
    loaded = _expression("immediate", _number(1, 1), _data(2, struct.pack(">H", port)))
    return [loaded, _expression("redir", _number(1, 1))]


def logged(group: int, prefix: str) -> Expression:
    """``log prefix PREFIX group GROUP``: a copy of the packet for whoever has bound the group."""
    return _expression("log", _attribute(1, struct.pack(">H", group)), _text(2, prefix))


# nfnetlink_log: what the rules log.

_PACKET, _CONFIG = 0, 1
_COPIED_BYTES = 128


def bound_log(group: int) -> bytes:
    """Have the packets of a group sent to the socket that sends this, each at once."""
    head = struct.pack(">BBH", 0, 0, group)
    bound = _message(_LOG << 8 | _CONFIG, head + _attribute(1, b"\x01"), flags=_ACK)
    mode = _attribute(2, struct.pack(">IBB", _COPIED_BYTES, 2, 0))
    return bound + _message(_LOG << 8 | _CONFIG, head + mode + _number(5, 1), flags=_ACK)


@frozen
class Logged:
    """A packet that a rule logged: the rule's prefix, and the packet from its IP header on."""

    prefix: str
    packet: bytes


def logs(received: bytes) -> Iterator[Logged]:
    """The logged packets in what a socket received."""
    for kind, payload in _messages(received):
        if kind == _LOG << 8 | _PACKET:
            found = dict(_attributes(payload[4:]))
            prefix = found.get(10, b"").rstrip(b"\0").decode("ascii", "replace")
            yield Logged(prefix, found.get(9, b""))


@frozen
class Failed:
    """A message that the kernel did not accept. ``number`` counts those of the answer."""

    number: int
    errno: int


def failures(received: bytes) -> tuple[int, list[Failed]]:
    """How many messages were answered, and those that failed."""
    answered, failed = 0, []
    for kind, payload in _messages(received):
        if kind == _ERROR:
            (code,) = struct.unpack_from("=i", payload)
            if code:
                failed.append(Failed(answered, -code))
            answered += 1
    return answered, failed


def expected(sent: bytes) -> int:
    """How many of these messages ask for an answer."""
    return sum(1 for flags, _, _ in _heads(sent) if flags & _ACK)


def _messages(received: bytes) -> Iterator[tuple[int, bytes]]:
    for _, kind, payload in _heads(received):
        yield kind, payload


def _heads(received: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + 16 <= len(received):
        length, kind, flags = struct.unpack_from("=IHH", received, at)
        if length < 16:
            return
        yield flags, kind, received[at + 16 : at + length]
        at += length + -length % 4


def _attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        if length < 4:
            return
        yield kind & ~_NESTED, payload[at + 4 : at + length]
        at += length + -length % 4
