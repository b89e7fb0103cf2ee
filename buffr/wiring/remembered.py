"""What is known by a name, and outlives those who use it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Remembered"]

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """One value a name, as long as anybody uses it; afterwards if it is kept.

    At most ``bound`` are kept that nobody uses: the one kept longest is
    forgotten first.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._used: WeakValueDictionary[Hashable, Value] = WeakValueDictionary()
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, name: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a name, made if there is none. The caller holds it while it is used."""
        value = self._used.get(name)
        if value is None:
            value = self._used[name] = make()
        self._kept.pop(name, None)
        return value

    def keep(self, name: Hashable, value: Value) -> None:
        """Remember a value, now that one of its users needs it no longer."""
        self._kept[name] = value
        self._kept.move_to_end(name)
        if len(self._kept) > self._bound:
            self._kept.popitem(last=False)
