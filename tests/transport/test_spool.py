"""The spool: few bytes in memory, many in a file, all readable, whatever the disk says."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.transport.spool import Spool


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond this size: a full disk without a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestWhere:
    def test_few_bytes_stay_in_memory(self, tmp_path: Path) -> None:
        """Up to the bound no file is made, and the directory need not even exist."""
        spool = Spool(10, tmp_path / "missing")
        spool.write(b"01234")
        spool.write(b"56789")
        assert spool.path is None
        assert spool.read(3, 4) == b"3456"

    def test_many_bytes_go_to_a_file_without_a_name(self, tmp_path: Path) -> None:
        """All of them do, the first ones too; nothing is left to clean up."""
        spool = Spool(10, tmp_path)
        spool.write(b"0123456789")
        spool.write(b"a")
        path = spool.path
        assert path is not None
        assert path.read_bytes() == b"0123456789a"
        assert list(tmp_path.iterdir()) == []
        spool.close()
        assert not path.exists()
        assert spool.size_bytes == 0

    def test_no_memory_at_all(self, tmp_path: Path) -> None:
        """With a bound of zero the first byte goes to the file."""
        spool = Spool(0, tmp_path)
        paths = []
        for data in (b"", b"a"):
            spool.write(data)
            paths.append(spool.path)
        assert [path is None for path in paths] == [True, False]
        spool.close()

    def test_closed_twice(self, tmp_path: Path) -> None:
        """Letting go again changes nothing."""
        spool = Spool(0, tmp_path)
        spool.write(b"a")
        spool.close()
        spool.close()


class TestReading:
    @given(
        st.lists(st.binary(max_size=20), max_size=8),
        st.integers(0, 60),
        st.tuples(st.integers(0, 99), st.integers(0, 99)),
    )
    def test_anywhere(self, parts: list[bytes], bound: int, where: tuple[int, int]) -> None:
        """Any stretch reads as in the whole, from memory and from the file."""
        spool, whole, (offset, size) = Spool(bound, Path("/tmp")), b"".join(parts), where
        for part in parts:
            spool.write(part)
        assert spool.size_bytes == len(whole)
        assert spool.read(offset, size) == whole[offset : offset + size]
        assert (spool.path is None) == (len(whole) <= bound)
        spool.close()

    def test_what_was_read_stays(self, tmp_path: Path) -> None:
        """Bytes that were read do not change with later writes, nor hinder them."""
        spool = Spool(10, tmp_path)
        spool.write(b"abc")
        read = spool.read(0, 3)
        spool.write(b"defghijklmn")
        assert read == b"abc"
        spool.close()


class TestDiskFull:
    def test_on_the_way_to_the_file(self, tmp_path: Path) -> None:
        """When memory cannot be moved to the disk, what it holds can still be read."""
        spool = Spool(1000, tmp_path)
        spool.write(b"a" * 1000)
        with disk_of(500), pytest.raises(OSError, match="File too large"):
            spool.write(b"b")
        assert spool.size_bytes == 1000
        assert spool.read(0, 2000) == b"a" * 1000
        assert spool.path is None

    def test_there_is_room_again(self, tmp_path: Path) -> None:
        """A write that failed can be tried again."""
        spool = Spool(1000, tmp_path)
        spool.write(b"a" * 1000)
        with disk_of(500), pytest.raises(OSError, match="File too large"):
            spool.write(b"b")
        spool.write(b"b")
        assert spool.read(990, 20) == b"a" * 10 + b"b"
        spool.close()

    def test_in_the_file(self, tmp_path: Path) -> None:
        """Of a write that fits in part nothing counts, and what was written before is whole."""
        spool = Spool(0, tmp_path)
        spool.write(b"a" * 400)
        with disk_of(500), pytest.raises(OSError, match="File too large"):
            spool.write(b"b" * 400)
        assert spool.size_bytes == 400
        assert spool.read(0, 400) == b"a" * 400
        spool.write(b"c" * 400)
        assert spool.read(390, 20) == b"a" * 10 + b"c" * 10
        spool.close()

    def test_no_directory(self, tmp_path: Path) -> None:
        """A directory that is not there is an error of the write, and what is in memory stays."""
        spool = Spool(2, tmp_path / "missing")
        spool.write(b"ab")
        with pytest.raises(FileNotFoundError):
            spool.write(b"c")
        assert spool.read(0, 3) == b"ab"
