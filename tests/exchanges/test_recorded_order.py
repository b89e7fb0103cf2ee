"""What was recorded in some order is replayed in this order, whatever selected the answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.exchanges.fitting import fitting, narrowed, next_of, variants_of
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.matching.key import MatchKey, RecordedKey
from buffr.matching.variants import Selecting
from buffr.message import Headers
from buffr.stores.base import Matches
from buffr.stores.cassette.index import Filing, Index

KEY = MatchKey((("path", b"/"),))
FIELDS = {
    b"accept": (b"", b"*/*", b"text/json", b"text/html, text/json;q=0.5"),
    b"accept-language": (b"", b"en", b"de"),
    b"stripe-version": (b"1", b"2"),
    b"x-theme": (b"light", b"dark"),
}
ANSWERS = {
    b"vary": (b"Accept", b"Accept-Language", b"Accept, X-Theme"),
    b"content-type": (b"text/json", b"text/html"),
}


def some(fields: dict[bytes, tuple[bytes, ...]]) -> st.SearchStrategy[Headers]:
    values = [st.sampled_from([None, *known]) for known in fields.values()]
    return st.tuples(*values).map(
        lambda chosen: tuple(
            (name, value) for name, value in zip(fields, chosen, strict=True) if value is not None
        )
    )


EXCHANGES = st.lists(st.tuples(some(FIELDS), some(ANSWERS)), min_size=2, max_size=9)


def indexed(exchanges: Sequence[tuple[Headers, Headers]]) -> Index:
    index = Index(Filing(lambda _: RecordedKey(b"")))
    for place, (asked, answer) in enumerate(exchanges):
        index.add_key(RecordedKey(KEY.digest, Selecting(tuple(asked)).variant(answer)), place)
    return index


def found_for(index: Index, asked: Headers) -> Matches:
    found = fitting(Selecting(tuple(asked)), variants_of(index.find((KEY,))))
    assert found is not None
    return found


@given(EXCHANGES, st.sampled_from(Repeat))
def test_the_same_requests_again(exchanges: list[tuple[Headers, Headers]], repeat: Repeat) -> None:
    """Each gets its own recorded answer; with ``cycle`` in any later round, too."""
    index, playhead = indexed(exchanges), Playhead(repeat)
    for _ in range(3 if repeat is Repeat.CYCLE else 1):
        played = [next_of(playhead, "", found_for(index, asked)) for asked, _ in exchanges]
        assert played == list(range(len(exchanges)))


LIGHT, DARK = (((b"x-theme", theme),) for theme in (b"light", b"dark"))
VARY = ((b"vary", b"X-Theme"),)
SHARED = [(LIGHT, VARY), (DARK, ()), (LIGHT, ())]
"""The second and the third answer fit both requests, the first only its own."""


@pytest.mark.parametrize(
    ("repeat", "expected"),
    [
        (Repeat.CYCLE, [0, 1, 2, 0, 1, 2]),
        (Repeat.LAST, [0, 1, 2, 2, 2, 2]),
        (Repeat.ONCE, [0, 1, 2, None, None, None]),
    ],
)
def test_one_request_gets_all_that_fit(repeat: Repeat, expected: list[int | None]) -> None:
    index, playhead = indexed(SHARED), Playhead(repeat)
    assert [next_of(playhead, "", found_for(index, LIGHT)) for _ in expected] == expected


def test_a_part_that_was_left_out_does_not_make_up_for_it() -> None:
    index, playhead = indexed(SHARED), Playhead(Repeat.CYCLE)
    for _ in range(20):
        next_of(playhead, "", found_for(index, DARK))
    played = [next_of(playhead, "", found_for(index, LIGHT)) for _ in range(7)]
    assert played == [0, 0, 1, 2, 0, 1, 2]


def test_what_was_recorded_again_takes_the_turn_of_the_old_one() -> None:
    """Its answer may be filed by another name; the next one is still the second."""
    index, playhead = indexed([(LIGHT, ()), (LIGHT, ()), (LIGHT, VARY)]), Playhead(Repeat.ONCE)
    found = found_for(index, LIGHT)
    old, new = found.parts
    assert next_of(playhead, "", old) == 0
    playhead.replaced("", old.name, new.name)
    later = narrowed(found, [2, 1])
    assert [next_of(playhead, "", later) for _ in range(2)] == [1, None]
