"""The most recently requested interactions, decoded, up to a limit."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from buffr.interaction import Interaction

__all__ = ["Decoded"]


@define(eq=False)
class Decoded:
    """Interactions by place, up to ``most_bytes`` of their text in the file."""

    most_bytes: int
    held_bytes: int = field(init=False, default=0)
    _held: OrderedDict[int, tuple[Interaction, int]] = field(init=False, factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, place: int) -> Interaction | None:
        held = self._held.get(place)
        if held is None:
            return None
        self._held.move_to_end(place)
        return held[0]

    def keep(self, place: int, interaction: Interaction, size_bytes: int) -> None:
        """Keep one, and drop the least recently requested ones."""
        self._held[place] = (interaction, size_bytes)
        self.held_bytes += size_bytes
        while self.held_bytes > self.most_bytes:
            _, (_, freed) = self._held.popitem(last=False)
            self.held_bytes -= freed

    def clear(self) -> None:
        self._held.clear()
        self.held_bytes = 0
