"""The memory of results stays within its bounds and remembers what is used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from buffr.transport.memo import Memo


class TestMemo:
    def test_remembers(self) -> None:
        """What was put is found, anything else is not."""
        memo: Memo[str, int] = Memo(entries=10, size_bytes=1000)
        memo.put("a", 1, 10)
        assert (memo.get("a"), memo.get("b")) == (1, None)

    def test_keeps_what_is_used(self) -> None:
        """An entry that is asked for now and then outlives many that are not."""
        memo: Memo[int, int] = Memo(entries=10, size_bytes=10_000)
        memo.put(0, 0, 10)
        for number in range(1, 100):
            memo.put(number, number, 10)
            assert memo.get(0) == 0
        assert memo.get(1) is None

    def test_too_large(self) -> None:
        """A value that would push all others out is not kept."""
        memo: Memo[str, int] = Memo(entries=10, size_bytes=1000)
        memo.put("a", 1, 900)
        assert memo.get("a") is None

    def test_replaces(self) -> None:
        """A value that is put again and again counts once: it pushes nothing out."""
        memo: Memo[str, int] = Memo(entries=10, size_bytes=1000)
        memo.put("a", 1, 10)
        for number in range(100):
            memo.put("b", number, 100)
        assert (memo.get("a"), memo.get("b")) == (1, 99)

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 100))))
    def test_bounds(self, puts: list[tuple[int, int]]) -> None:
        """Never more entries, nor more bytes, than allowed."""
        memo: Memo[int, int] = Memo(entries=8, size_bytes=800)
        for key, size in puts:
            memo.put(key, size, size)
            held = [*memo._young.values(), *memo._old.values()]
            assert len(memo) <= 8
            assert sum(size for _, size in held) <= 800
