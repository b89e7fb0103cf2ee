"""Names inside: each has addresses of its own, the same in every run."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate import names as module
from buffr.isolate.names import OWN_V4, OWN_V6, Names, TooManyNames

V4, V6 = IPv4Network("198.18.0.0/15"), IPv6Network("fd62:7566:6672::/64")
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)


class TestAddresses:
    @given(st.lists(NAME, unique=True, max_size=50))
    def test_each_name_has_its_own(self, all_names: list[str]) -> None:
        names = Names()
        given_out = [names.addresses(name) for name in all_names]
        for kind, network in ((0, V4), (1, V6)):
            addresses = [pair[kind] for pair in given_out]
            assert len(set(addresses)) == len(all_names)
            assert all(one in network for one in addresses)
            assert [names.name_of(one.packed) for one in addresses] == all_names
        assert not {OWN_V4, OWN_V6} & {one for pair in given_out for one in pair}

    def test_it_is_the_same_in_every_run(self) -> None:
        """By which a recording that holds it, such as a log line, still matches."""
        assert str(Names().addresses("api.openai.com")[0]) == "198.18.85.113"
        assert Names().addresses("API.OpenAI.com.") == Names().addresses("api.openai.com")

    def test_two_names_that_would_have_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_SIZE", 20)
        names = Names()
        three = [f"{n}.test" for n in range(3)]
        assert len({names.addresses(name) for name in three}) == 3
        with pytest.raises(TooManyNames):
            names.addresses("one-more.test")
        assert names.addresses("0.test") == names.addresses("0.test")

    @pytest.mark.parametrize("address", ["8.8.8.8", "198.18.0.1", "::1", "fd62:7566:6672::9"])
    def test_other_addresses_have_no_name(self, address: str) -> None:
        assert Names().name_of(ip_address(address).packed) is None


class TestExistence:
    @pytest.mark.parametrize("name", ["a.test", "a.b.example.com.", "x_y.z"])
    def test_any_name_may_exist(self, name: str) -> None:
        assert Names().exists(name)

    @pytest.mark.parametrize(
        "name", ["db", "", ".", "a.invalid", "a..b", ".a.b", "x.onion", "localhost", "a.localhost"]
    )
    def test_single_labels_and_special_names_do_not(self, name: str) -> None:
        """So that a script that looks for a machine by its short name sees that there is none."""
        assert not Names().exists(name)

    def test_a_single_label_that_is_known(self) -> None:
        assert Names(["DB"]).exists("db.")
