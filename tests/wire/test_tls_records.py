"""The records of TLS: their ends are found, however they are split."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.wire.tls_records import Records

DATA, HANDSHAKE = 23, 22


def record(size: int, kind: int = DATA) -> bytes:
    return bytes((kind, 3, 3)) + size.to_bytes(2, "big") + bytes(size)


class TestRecords:
    @given(st.lists(st.integers(0, 40), max_size=8), st.data())
    def test_a_record_by_itself_is_told_wherever_it_comes(
        self, sizes: list[int], data: st.DataObject
    ) -> None:
        """After records in any pieces, one that comes alone is seen as such."""
        stream = b"".join(map(record, sizes))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        records = Records()
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            records.feed(stream[start:end])
        assert records.feed(record(7))

    @given(st.integers(1, 40), st.integers(1, 44))
    def test_what_looks_like_one_inside_another_is_none(self, size: int, cut: int) -> None:
        """Bytes are not taken for a record while another is under way."""
        outer = record(size + 12)
        records = Records()
        records.feed(outer[: min(cut, size + 5)])
        assert not records.feed(record(7)[:12])

    @pytest.mark.parametrize(
        "data", [b"", b"\x17", record(5)[:-1], record(5) + b"\x17", record(5) * 2, record(0)[:5]]
    )
    def test_parts_and_several(self, data: bytes) -> None:
        assert not Records().feed(data)

    def test_a_handshake_is_none(self) -> None:
        assert not Records().feed(record(5, HANDSHAKE))
