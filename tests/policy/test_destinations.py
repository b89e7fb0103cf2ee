"""Where a forward proxy's clients may go."""

from __future__ import annotations

import pytest
from attrs import frozen

from buffr.errors import AccessDenied
from buffr.policy.access import Destinations
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import HostTable


@frozen
class Row:
    host: str


def destinations(*, private_denied: bool = True) -> Destinations:
    return Destinations(
        bypass=Bypass.of(["aside.test", "corp"]),
        private_denied=private_denied,
        rows=HostTable([Row("10.0.0.1"), Row("*")]),
        named=Bypass.of(["10.0.0.2"]),
        targets=frozenset({("10.0.0.3", 81)}),
    )


class TestCheck:
    @pytest.mark.parametrize("host", ["10.0.0.9", "169.254.169.254", "::1", "[::1]", "127.0.0.1"])
    def test_a_private_address_is_refused(self, host: str) -> None:
        with pytest.raises(AccessDenied):
            destinations().check(host, 443)
        destinations(private_denied=False).check(host, 443)

    @pytest.mark.parametrize(
        ("host", "port"), [("10.0.0.1", 443), ("10.0.0.2", 443), ("10.0.0.3", 81)]
    )
    def test_what_settings_name_is_not(self, host: str, port: int) -> None:
        destinations().check(host, port)

    def test_another_port_of_a_target_is(self) -> None:
        with pytest.raises(AccessDenied):
            destinations().check("10.0.0.3", 82)

    def test_a_name_is_judged_when_it_is_dialled(self) -> None:
        destinations().check("localhost", 443)
        assert destinations().denies_private("localhost", 443)

    def test_public_addresses_pass(self) -> None:
        destinations().check("93.184.215.14", 443)


class TestBypass:
    def test_by_the_list(self) -> None:
        assert destinations().bypassed("aside.test", 443)
        assert not destinations().bypassed("other.test", 443)
