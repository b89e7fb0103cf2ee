"""What flags let through, and which services of this machine there are."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate.ledger import Ledger, Refusal
from buffr.isolate.loopback import Allowed, Published, host_services


class TestAllowed:
    @pytest.mark.parametrize(
        ("text", "host", "loopback"),
        [
            ("db.Example.com.:5432", "db.example.com", False),
            ("127.0.0.1:80", "127.0.0.1", True),
            ("127.8.0.1:80", "127.8.0.1", True),
            ("localhost:80", "localhost", True),
            ("[::1]:80", "::1", True),
            ("[2001:DB8:0::5]:80", "2001:db8::5", False),
        ],
    )
    def test_host_and_port(self, text: str, host: str, loopback: bool) -> None:
        one = Allowed.parse(text)
        assert (one.host, one.is_loopback) == (host, loopback)
        assert Allowed.parse(str(one)) == one

    @pytest.mark.parametrize(
        "text", ["", "db", "db:", ":80", "db:0", "db:65536", "::1:80", "[db]:80", "a b:80"]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            Allowed.parse(text)

    @given(st.text(max_size=20))
    def test_any_text(self, text: str) -> None:
        try:
            Allowed.parse(text)
        except ValueError:
            return


class TestPublished:
    def test_ports(self) -> None:
        assert Published.parse("3000") == Published(3000, 3000)
        assert Published.parse("8080:3000") == Published(8080, 3000)

    @pytest.mark.parametrize("text", ["", "x", "3000:0", "65536", "1:2:3"])
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be PORT"):
            Published.parse(text)


class TestServices:
    @pytest.mark.parametrize(
        ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    )
    def test_a_listening_port_is_found(self, family: socket.AddressFamily, host: str) -> None:
        with socket.create_server((host, 0), family=family) as service:
            port = service.getsockname()[1]
            assert port in host_services()
        assert port not in host_services()


class TestLedger:
    def test_it_counts_by_program(self) -> None:
        ledger = Ledger()
        for program in ("curl", "wget", "curl"):
            ledger.came("a.test", 443, program, relayed=program == "wget")
        (row,) = ledger.asked.values()
        assert (row.programs, row.relayed, row.count) == ({"curl": 2, "wget": 1}, 1, 3)

    def test_only_the_first_of_its_kind_is_told(self) -> None:
        ledger = Ledger()
        one = Refusal("psql", "tcp", "2001:db8::5", 5432, "PostgreSQL cannot be recorded")
        assert [ledger.refused(one) for _ in range(3)] == [True, False, False]
        assert ledger.attempts == 3
        assert one.where == "[2001:db8::5]:5432"
