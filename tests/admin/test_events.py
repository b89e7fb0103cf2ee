"""How much of its time buffr spends on telling clients what happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buffr.admin.events import rest_after


class TestRests:
    @given(st.floats(0, 0.05), st.integers(1, 20))
    def test_all_clients_together_get_their_share(self, spent_s: float, clients: int) -> None:
        rest_s = rest_after(spent_s, clients)
        assert 0.1 <= rest_s <= 1
        assert rest_s == 1 or clients * spent_s <= 0.05 * (spent_s + rest_s)

    def test_what_takes_next_to_nothing_is_told_as_it_happens(self) -> None:
        assert rest_after(0.001, 1) == rest_after(0, 20) == 0.1

    @given(st.floats(0, 0.05), st.floats(0, 1))
    def test_on_a_busy_machine_it_is_told_less_often(self, spent_s: float, late_s: float) -> None:
        rest_s = rest_after(spent_s, 1, late_s)
        assert rest_after(spent_s, 1) <= rest_s <= 1
        assert rest_s == 1 or late_s <= 0.05 * rest_s + 1e-9
