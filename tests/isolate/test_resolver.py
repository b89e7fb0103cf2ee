"""The resolver on its socket: it remembers answers, but nothing that could change."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest

from buffr.isolate import dns
from buffr.isolate.names import Names
from buffr.isolate.resolver import UDPResolver

A, PTR, HTTPS = 1, 12, 65


def query(number: int, name: str, kind: int) -> bytes:
    labels = b"".join(bytes((len(one),)) + one.encode() for one in name.split("."))
    head = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
    return head + labels + struct.pack(">BHH", 0, kind, 1)


class Asking:
    """A client, and the resolver that it asks."""

    def __init__(self, served: socket.socket, client: socket.socket) -> None:
        self.names = Names()
        self._resolver = UDPResolver(served, self.names)
        self.client = client
        self.where = served.getsockname()

    def ask(self, *queries: bytes) -> list[bytes]:
        for one in queries:
            self.client.sendto(one, self.where)
        self._resolver.doRead()
        return [self.client.recv(512) for _ in queries]


@pytest.fixture
def asking() -> Iterator[Asking]:
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as served,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client,
    ):
        served.bind(("127.0.0.1", 0))
        served.setblocking(False)
        client.settimeout(60)
        yield Asking(served, client)


class TestAnswers:
    def test_each_query_has_its_own_number(self, asking: Asking) -> None:
        first, second = asking.ask(query(1, "a.test", A), query(2, "a.test", A))
        assert (first[:2], second[:2]) == (b"\0\1", b"\0\2")
        assert first[2:] == second[2:] == dns.answer(query(1, "a.test", A), asking.names)[2:]

    def test_the_case_of_the_question_comes_back(self, asking: Asking) -> None:
        asking.ask(query(1, "a.test", A))
        (said,) = asking.ask(query(1, "A.tesT", A))
        assert said[12:].startswith(query(1, "A.tesT", A)[12:])

    def test_an_address_may_get_a_name(self, asking: Asking) -> None:
        """So an answer that there is none holds for one query."""
        v4, _ = Names().addresses("a.test")
        reverse = query(1, v4.reverse_pointer, PTR)
        assert [said[3] & 15 for said in asking.ask(reverse)] == [3]
        asking.ask(query(2, "a.test", A))
        assert [said[3] & 15 for said in asking.ask(reverse)] == [0]

    def test_what_is_no_query_has_no_answer(self, asking: Asking) -> None:
        asking.client.sendto(b"x", asking.where)
        (said,) = asking.ask(query(3, "a.test", HTTPS))
        assert said[:2] == b"\0\3"
