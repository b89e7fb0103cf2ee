from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from buffr.drift.finding import Finding, Severity
from buffr.drift.renewal import Candidate, chosen
from buffr.drift.verdict import Verdict

DRIFT = (Finding(Severity.VALUE, "body", (), "differs"),)


def candidate(
    number: int,
    *sources: int,
    drifted: bool = False,
    edited: bool = False,
    status: int = 200,
) -> Candidate:
    verdict = Verdict(number, "GET /", findings=DRIFT if drifted else (), edited=edited)
    return Candidate(verdict, frozenset(sources), 200, status)


def select(
    *candidates: Candidate, everything: bool = False, edited: bool = False
) -> tuple[set[int], set[int]]:
    """The numbers to replace, and those that are kept although they drifted."""
    by_number: Mapping[int, Candidate] = {one.verdict.number: one for one in candidates}
    numbers, kept = chosen(by_number, everything=everything, edited=edited)
    return set(numbers), {one.number for one in kept}


class TestChoice:
    def test_what_drifted(self) -> None:
        assert select(candidate(0), candidate(1, drifted=True)) == ({1}, set())
        assert select(candidate(0), candidate(1), everything=True) == ({0, 1}, set())

    def test_what_hangs_together_is_replaced_together(self) -> None:
        """In both directions, and over several steps."""
        chain = (candidate(0), candidate(1, 0), candidate(2, 1), candidate(3))
        for drifted in range(3):
            some = [*chain]
            some[drifted] = candidate(drifted, *chain[drifted].sources, drifted=True)
            assert select(*some) == ({0, 1, 2}, set())

    def test_what_was_edited_stays_with_what_hangs_on_it(self) -> None:
        some = (
            candidate(0, edited=True),
            candidate(1, 0, drifted=True),
            candidate(2, drifted=True),
        )
        assert select(*some) == ({2}, {1})
        assert select(*some, edited=True) == ({0, 1, 2}, set())

    def test_failures_replace_nothing(self) -> None:
        for status in (401, 403, 429, 500, 503):
            assert select(candidate(0, drifted=True, status=status)) == (set(), {0})
        assert select(candidate(0, drifted=True, status=404)) == ({0}, set())

    @given(
        st.lists(st.tuples(st.sets(st.integers(0, 9)), st.booleans(), st.booleans()), max_size=10)
    )
    def test_a_group_is_never_torn(self, rows: list[tuple[set[int], bool, bool]]) -> None:
        some = [
            candidate(at, *sources, drifted=drifted, edited=edited)
            for at, (sources, drifted, edited) in enumerate(rows)
        ]
        replaced, _ = select(*some)
        for one in some:
            for source in one.sources & set(range(len(some))):
                assert (one.verdict.number in replaced) is (source in replaced)
        assert not any(some[number].verdict.edited for number in replaced)
