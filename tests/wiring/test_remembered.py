from __future__ import annotations

import gc
from functools import partial

from attrs import define

from buffr.wiring.remembered import Remembered


@define(eq=False, weakref_slot=True)
class Value:
    number: int


class TestRemembered:
    def test_all_who_use_a_name_have_one_value(self) -> None:
        remembered: Remembered[Value] = Remembered(2)
        first = remembered.of("a", lambda: Value(1))
        assert remembered.of("a", lambda: Value(2)) is first
        assert remembered.of("b", lambda: Value(3)) is not first

    def test_what_nobody_uses_or_keeps_is_forgotten(self) -> None:
        remembered: Remembered[Value] = Remembered(2)
        remembered.of("a", lambda: Value(1))
        gc.collect()
        assert remembered.of("a", lambda: Value(2)).number == 2

    def test_what_is_kept_is_there_again(self) -> None:
        remembered: Remembered[Value] = Remembered(2)
        remembered.keep("a", remembered.of("a", lambda: Value(1)))
        gc.collect()
        assert remembered.of("a", lambda: Value(2)).number == 1

    def test_the_bound_is_on_what_nobody_uses(self) -> None:
        """The one kept longest is forgotten first, unless somebody uses it still."""
        remembered: Remembered[Value] = Remembered(2)
        used = remembered.of(0, lambda: Value(0))
        for number in range(4):
            remembered.keep(number, remembered.of(number, partial(Value, number)))
            gc.collect()
        assert len(remembered) == 2
        found = [remembered.of(number, lambda: Value(-1)).number for number in range(4)]
        assert found == [0, -1, 2, 3]
        assert used.number == 0
