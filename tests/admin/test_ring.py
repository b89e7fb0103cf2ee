"""What the ring of finished exchanges keeps, and how much it thinks that this takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from buffr.admin.ring import Ring
from buffr.admin.stories import SHARED, Story, Told, kept_tunnel

MOST = 64 << 10


def told(number: int) -> Told:
    return float(number), 0.001, kept_tunnel(f"CONNECT {number}"), ()


def words_of(some: Sequence[Told]) -> list[str]:
    return [Story.of(one, dur_s).words for _, dur_s, one, _ in some]


def every(ring: Ring) -> list[Told]:
    return ring.forwards(ring.start, len(ring))


class TestKept:
    @given(st.lists(st.integers(0, 600), max_size=8))
    def test_the_latest_in_their_order(self, counts: list[int]) -> None:
        """Whatever comes at once, nothing is lost but the oldest."""
        ring, number = Ring(MOST), 0
        for count in counts:
            ring.extend([told(one) for one in range(number, number + count)])
            number += count
            assert ring.end == number
            assert words_of(every(ring)) == [f"CONNECT {at}" for at in range(ring.start, ring.end)]
            assert [at for at, _ in ring.backwards(ring.end)] == [*range(ring.start, ring.end)][
                ::-1
            ]
            assert ring.size_bytes <= MOST
        assert ring.start == 0 or ring.size_bytes > MOST * 0.9

    def test_one_that_is_too_large_alone(self) -> None:
        ring = Ring(100)
        ring.extend([told(1), told(2)])
        assert words_of(every(ring)) == ["CONNECT 2"]

    def test_a_text_that_is_no_unicode(self) -> None:
        ring = Ring(MOST)
        ring.extend([(0.0, 0.001, kept_tunnel("CONNECT \udc80"), ())])
        assert words_of(every(ring)) == ["CONNECT \\udc80"]

    def test_a_reader_that_is_slower_than_what_comes(self) -> None:
        ring = Ring(MOST)
        ring.extend([told(one) for one in range(10)])
        reader = ring.backwards(ring.end)
        assert next(reader)[0] == 9
        ring.extend([told(one) for one in range(10, 1000)])
        assert list(reader) == []


class TestRepeatedHits:
    def test_what_they_share_takes_its_room_once(self) -> None:
        one = kept_tunnel("x")
        ring = Ring(MOST)
        ring.extend([(0.0, 0.001, one, ()), *[(0.0, None, one, ())] * 1000])
        assert len(ring) == 1001
        assert ring.size_bytes < MOST / 1.5
        assert all(again[2] is one for again in every(ring)[1:])

    def test_those_that_take_time_share_too(self) -> None:
        """Each of them has its own duration."""
        one = kept_tunnel("x")
        ring = Ring(MOST)
        ring.extend([(0.0, 0.5, one, ()), (1.0, 0.25, one, SHARED), (2.0, 0.0, one, SHARED)])
        assert [again[:2] for again in every(ring)] == [(0.0, 0.5), (1.0, 0.25), (2.0, 0.0)]
        assert [again[2] is one for again in every(ring)] == [False, True, True]

    def test_it_is_counted_as_long_as_one_of_them_is_kept(self) -> None:
        """Each of these repeats what came long ago: the memory is theirs now."""
        ring = Ring(MOST)
        for number in range(1000):
            ring.extend([(0.0, None, kept_tunnel(str(number)), ())])
        assert len(ring) < 400

    def test_their_volatile_values_take_room(self) -> None:
        ring, one = Ring(MOST), kept_tunnel("x")
        ring.extend([(0.0, None, one, (b"%064d" % number,)) for number in range(5000)])
        assert len(ring) * 64 <= MOST
        shown = [*every(ring)]
        assert [values for _, _, _, values in shown] == [
            [b"%064d" % number] for number in range(ring.start, ring.end)
        ]
        assert all(again[2] is one for again in shown)

    def test_nothing_is_counted_when_all_of_them_are_gone(self) -> None:
        ring, alone = Ring(MOST), Ring(MOST)
        ring.extend([(0.0, None, kept_tunnel(str(number)), ()) for number in range(512)])
        for one in (ring, alone):
            one.extend([told(number) for number in range(2048)])
        assert len(ring) == len(alone)


class TestMemory:
    def test_they_take_about_what_is_counted(self) -> None:
        ring = Ring(1 << 20)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(20_000):
                ring.extend([told(number)])
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert ring.start > 0
        assert taken < 1.3 * ring.size_bytes

    def test_the_collector_sees_none_of_them(self) -> None:
        """Else each full collection would take the longer, the more is kept."""
        ring = Ring(8 << 20)
        gc.collect()
        before = len(gc.get_objects())
        ring.extend([told(number) for number in range(5000)])
        gc.collect()
        assert len(gc.get_objects()) - before < 200
