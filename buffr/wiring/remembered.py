"""Named values that outlive their users."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Remembered"]

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """One value per name while it is used, and afterwards if it is kept.

    No more than ``bound`` unused values are kept: the one kept longest is
    dropped first.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._used: WeakValueDictionary[Hashable, Value] = WeakValueDictionary()
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, name: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a name, created if there is none. The caller holds it while it is used."""
        value = self._used.get(name)
        if value is None:
            value = self._used[name] = make()
        self._kept.pop(name, None)
        return value

    def keep(self, name: Hashable, value: Value) -> None:
        """Keep a value that one of its users no longer needs."""
        self._kept[name] = value
        self._kept.move_to_end(name)
        if len(self._kept) > self._bound:
            self._kept.popitem(last=False)
