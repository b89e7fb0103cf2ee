"""Recordings that are too old, and those that replace them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from buffr.exchanges.ages import Ages, recorded_s
from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.matching.key import RecordedKey
from buffr.message import ResponseHead
from buffr.stores.memory import MemoryInteractions


class TestRecorded:
    def test_times(self) -> None:
        """As buffr writes them, with other offsets, and without one."""
        assert recorded_s("1970-01-01T00:01:00.500Z") == 60.5
        assert recorded_s("1970-01-01T01:00:00+01:00") == 0
        assert recorded_s("1970-01-01T00:00:01") == 1

    @pytest.mark.parametrize("unknown", [None, "", "yesterday", "1970-13-01T00:00:00Z"])
    def test_unknown(self, unknown: str | None) -> None:
        assert recorded_s(unknown) is None


def in_turn(times: Sequence[int | None], now_s: float) -> tuple[list[int], set[int]]:
    """What takes turns of recordings made at these seconds, where 10 seconds is too old."""

    async def found() -> tuple[list[int], set[int]]:
        store = MemoryInteractions().view(lambda entry: RecordedKey(entry.request.target))
        for time in times:
            at = None if time is None else f"1970-01-01T00:00:{time:02}Z"
            head = ResponseHead(200, b"OK", ())
            await store.append(HTTPInteraction(RecordedRequest(b"GET", b"/"), head, recorded_at=at))
        places, too_old = await Ages(10).in_turn(store, range(len(times)), now_s)
        return list(places), set(too_old)

    return asyncio.run(found())


class TestInTurn:
    def test_young_ones(self) -> None:
        assert in_turn([1, 2, 3], 11) == ([0, 1, 2], set())

    def test_those_that_do_not_say_never_get_old(self) -> None:
        """InteractionSet of the Go program."""
        assert in_turn([None, None], 1e9) == ([0, 1], set())

    def test_later_ones_have_the_turns_of_old_ones(self) -> None:
        """The first later one that of the first, until none is left."""
        assert in_turn([1, 2, 3], 20) == ([0, 1, 2], {0, 1, 2})
        assert in_turn([1, 2, 3, 19], 20) == ([3, 1, 2], {1, 2})
        assert in_turn([1, 2, 3, 19, 19, 19], 20) == ([3, 4, 5], set())
        assert in_turn([1, 18, 19], 20) == ([1, 2], set())
