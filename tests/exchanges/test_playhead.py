"""The playhead: which recording of a key is next, scope by scope."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.exchanges.playhead import Playhead, Repeat

KEY = b"key"


def played(playhead: Playhead, places: list[int], times: int, scope: str = "") -> list[int | None]:
    return [playhead.next(scope, KEY, places) for _ in range(times)]


class TestRepeat:
    @pytest.mark.parametrize(
        ("repeat", "expected"),
        [
            (Repeat.CYCLE, [4, 7, 9, 4, 7, 9, 4]),
            (Repeat.LAST, [4, 7, 9, 9, 9, 9, 9]),
            (Repeat.ONCE, [4, 7, 9, None, None, None, None]),
        ],
    )
    def test_what_follows_the_last(self, repeat: Repeat, expected: list[int | None]) -> None:
        """Recorded order first; then again from the start, the last one, or nothing."""
        assert played(Playhead(repeat), [4, 7, 9], 7) == expected

    @pytest.mark.parametrize(
        ("repeat", "expected"), [(Repeat.CYCLE, 4), (Repeat.LAST, 4), (Repeat.ONCE, None)]
    )
    def test_a_recording_of_this_run(self, repeat: Repeat, expected: int | None) -> None:
        """It counts as an answer: with ``once`` the same request is fetched again."""
        playhead = Playhead(repeat)
        playhead.answered("", KEY)
        assert playhead.next("", KEY, [4]) == expected

    def test_once_used_up_and_recorded_on(self) -> None:
        """Each new recording is made once and not replayed in the same run."""
        playhead, places = Playhead(Repeat.ONCE), [1, 2]
        assert played(playhead, places, 3) == [1, 2, None]
        places.append(3)
        playhead.answered("", KEY)
        assert playhead.next("", KEY, places) is None

    def test_recordings_of_others(self) -> None:
        """What somebody else adds meanwhile is next in its turn."""
        for repeat in (Repeat.LAST, Repeat.ONCE):
            playhead, places = Playhead(repeat), [1]
            assert playhead.next("", KEY, places) == 1
            places.append(2)
            assert playhead.next("", KEY, places) == 2

    def test_the_turn_is_kept_when_the_list_grows(self) -> None:
        """Counting modulo the length would jump back or ahead."""
        playhead, places = Playhead(Repeat.CYCLE), [1, 2, 3]
        assert played(playhead, places, 5) == [1, 2, 3, 1, 2]
        places.append(4)
        assert played(playhead, places, 4) == [3, 4, 1, 2]

    def test_the_last_one_waits_for_what_follows(self) -> None:
        playhead, places = Playhead(Repeat.LAST), [1]
        assert played(playhead, places, 3) == [1, 1, 1]
        places += [2, 3]
        assert played(playhead, places, 3) == [2, 3, 3]


class TestScopes:
    def test_on_their_own(self) -> None:
        """Each scope, and each key in it, starts at the first recording."""
        playhead = Playhead(Repeat.ONCE)
        assert played(playhead, [1, 2], 2, "one") == [1, 2]
        assert played(playhead, [1, 2], 3, "two") == [1, 2, None]
        assert playhead.next("one", b"other key", [5]) == 5

    def test_reset(self) -> None:
        """The scope starts over and the others do not; an unknown scope is not an error."""
        playhead = Playhead(Repeat.ONCE)
        played(playhead, [1, 2], 1, "one")
        played(playhead, [1, 2], 1, "two")
        playhead.reset("one")
        playhead.reset("unknown")
        assert played(playhead, [1, 2], 1, "one") == [1]
        assert played(playhead, [1, 2], 1, "two") == [2]

    def test_bounded(self) -> None:
        """Beyond the bound the scope that was idle longest starts over."""
        playhead = Playhead(Repeat.ONCE, max_scopes=3)
        for scope in ("a", "b", "c", "a", "d"):
            playhead.next(scope, KEY, [1, 2, 3])
        assert len(playhead._scopes) == 3
        assert playhead.next("a", KEY, [1, 2, 3]) == 3
        assert playhead.next("b", KEY, [1, 2, 3]) == 1

    def test_recording_keeps_a_scope_alive(self) -> None:
        """A recording is a sign of life, as a replay is."""
        playhead = Playhead(Repeat.LAST, max_scopes=2)
        for scope in ("a", "b"):
            playhead.next(scope, KEY, [1, 2])
        playhead.answered("a", KEY)
        playhead.next("c", KEY, [1, 2])
        assert set(playhead._scopes) == {"a", "c"}


class Asked:
    """The playhead's promises, implemented in the simplest way.

    ``rounds`` has what a scope has received since it last began at the start.
    """

    def __init__(self, repeat: Repeat) -> None:
        self.repeat = repeat
        self.rounds: Counter[str] = Counter()

    def next(self, scope: str, total: int) -> int | None:
        if self.rounds[scope] >= total:
            if self.repeat is Repeat.ONCE:
                return None
            self.rounds[scope] = 0 if self.repeat is Repeat.CYCLE else total - 1
        self.rounds[scope] += 1
        return self.rounds[scope] - 1


class TestModel:
    @given(
        st.sampled_from(Repeat),
        st.lists(st.tuples(st.sampled_from(["ask", "record", "reset"]), st.sampled_from("ab"))),
    )
    def test_any_history(self, repeat: Repeat, history: list[tuple[str, str]]) -> None:
        """Asking, recording and starting over in any order, with a list that grows."""
        playhead, model, places = Playhead(repeat), Asked(repeat), [100]
        for act, scope in history:
            if act == "ask":
                place = model.next(scope, len(places))
                expected = None if place is None else places[place]
                assert playhead.next(scope, KEY, places) == expected
            elif act == "record":
                places.append(100 + len(places))
                model.rounds[scope] += 1
                playhead.answered(scope, KEY)
            else:
                del model.rounds[scope]
                playhead.reset(scope)
