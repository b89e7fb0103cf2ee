"""DNS as bytes: every query has an answer that a stub resolver understands."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate import dns
from buffr.isolate.names import Names

A, NS, PTR, TXT, AAAA, SVCB, HTTPS = 1, 2, 12, 16, 28, 64, 65


def query(name: str, kind: int, *, group: int = 1, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    head = struct.pack(">HHHHHH", 0x1234, flags, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">HH", kind, group)


def parts(answer: bytes) -> tuple[int, list[bytes]]:
    """The code of an answer, and the data of its records."""
    number, flags, questions, count, _, _ = struct.unpack_from(">HHHHHH", answer)
    assert (number, questions) == (0x1234, 1)
    assert flags & 0x8180 == 0x8180
    at, data = answer.index(b"\0", 12) + 5, []
    for _ in range(count):
        pointer, _, group, _, length = struct.unpack_from(">HHHIH", answer, at)
        assert (pointer, group) == (0xC00C, 1)
        data.append(answer[at + 12 : at + 12 + length])
        at += 12 + length
    assert at == len(answer)
    return flags & 15, data


class TestAnswers:
    def test_addresses(self) -> None:
        names = Names()
        v4, v6 = names.addresses("a.test")
        assert parts(dns.answer(query("a.test", A), names)) == (0, [v4.packed])
        assert parts(dns.answer(query("A.Test", AAAA), names)) == (0, [v6.packed])

    @pytest.mark.parametrize("kind", [HTTPS, SVCB, TXT, NS])
    def test_nothing_else_is_known_of_a_name(self, kind: int) -> None:
        """HTTPS records would lead a client to HTTP/3, or to an encrypted hello."""
        assert parts(dns.answer(query("a.test", kind), Names())) == (0, [])

    @pytest.mark.parametrize("name", ["db", "a.invalid"])
    def test_a_name_that_does_not_exist(self, name: str) -> None:
        assert parts(dns.answer(query(name, A), Names())) == (3, [])

    def test_the_name_of_an_address(self) -> None:
        names = Names()
        v4, v6 = names.addresses("a.test")
        for address in (v4, v6):
            said = dns.answer(query(address.reverse_pointer, PTR), names)
            assert parts(said) == (0, [b"\x01a\x04test\x00"])
        assert parts(dns.answer(query("8.8.8.8.in-addr.arpa", PTR), names)) == (3, [])

    def test_the_case_of_the_question_comes_back(self) -> None:
        """By which some resolvers know that an answer is theirs."""
        asked = query("a.TeSt", A)
        assert dns.answer(asked, Names())[12:].startswith(asked[12:])

    def test_another_operation(self) -> None:
        assert parts(dns.answer(query("a.test", A, flags=0x2900), Names()))[0] == 4


class TestHostileBytes:
    @given(st.binary(max_size=100))
    def test_an_answer_or_nothing(self, data: bytes) -> None:
        said = dns.answer(data, Names())
        assert not said or said[:2] == data[:2]

    @pytest.mark.parametrize(
        "data",
        [
            query("a.test", A)[:-1],
            query("a.test", A, group=3),
            query("a.test", A)[:12] + b"\xc0\x0c\0\1\0\1",
            query(".".join(["a" * 60] * 5), A),
        ],
        ids=["cut", "class", "pointer", "long"],
    )
    def test_a_question_that_is_none(self, data: bytes) -> None:
        assert dns.asked(data) is None
        assert dns.answer(data, Names())[3] & 15 == 1

    def test_an_answer_is_not_answered(self) -> None:
        """Two resolvers would answer each other for ever."""
        assert dns.answer(query("a.test", A, flags=0x8100), Names()) == b""
