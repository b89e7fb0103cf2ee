"""Every call that changes the disk fails once, or is the last one before a kill."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import define
from cassettes import Deck, paths
from recordings import key_of, recording

from buffr.errors import StoreFailed
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.index import Filing
from buffr.stores.cassette.ledger import Ledger
from buffr.stores.cassette.reading import CassetteReader
from buffr.stores.disk import BytesLike, Disk

INTEROP = Path(__file__).parent / "interop"


class Killed(BaseException):
    """The process ends here."""


@define
class FailingDisk(Disk):
    """Lets ``good`` calls pass, then writes ``cut`` more bytes, and fails from there on."""

    error: BaseException
    good: int
    cut: int = 0
    for_ever: bool = True

    def _spend(self) -> bool:
        self.good -= 1
        return self.good < 0 and (self.for_ever or self.good == -1)

    def write(self, fd: int, parts: Sequence[BytesLike], offset: int) -> None:
        if self._spend():
            os.pwrite(fd, b"".join(parts)[: self.cut], offset)
            raise self.error
        super().write(fd, parts, offset)

    def truncate(self, fd: int, size_bytes: int) -> None:
        if self._spend():
            raise self.error
        super().truncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        if self._spend():
            raise self.error
        super().sync(fd)

    def create(self, path: Path, mode: int) -> int:
        if self._spend():
            raise self.error
        return super().create(path, mode)

    def create_nameless(self, directory: Path, mode: int) -> int | None:
        if self._spend():
            raise self.error
        return super().create_nameless(directory, mode)

    def link(self, source: Path, target: Path) -> None:
        if self._spend():
            raise self.error
        super().link(source, target)

    def name(self, source: Path, target: Path, mode: int) -> None:
        if self._spend():
            raise self.error
        super().name(source, target, mode)

    def replace(self, source: Path, target: Path) -> None:
        if self._spend():
            raise self.error
        super().replace(source, target)


def ledger(path: Path, disk: Disk, *, sync: bool = False) -> Ledger:
    bodies = BodyFiles(path, file_mode=0o600, sync=sync, disk=disk)
    return Ledger(
        CassetteFile(path, 0o600, sync, disk, lambda line: None, quiet_s=0.0),
        bodies,
        CassetteReader(path, bodies.directory),
        lambda salt: lambda interaction: interaction,
    )


def new_file(path: Path) -> list[str]:
    return []


def ours(path: Path) -> list[str]:
    deck = Deck(path)
    deck.append(recording(b"/0"), recording(b"/1"))
    deck.close()
    return ["/0", "/1"]


def ours_without_interactions(path: Path) -> list[str]:
    path.write_text(f'{{\n  "version": 1,\n  "salt": "{"0" * 32}",\n  "interactions": [\n  ]\n}}\n')
    return []


def of_the_go_program(path: Path) -> list[str]:
    path.write_bytes((INTEROP / "go-forward.json").read_bytes())
    return paths(path)


def torn(path: Path) -> list[str]:
    ours(path)
    path.write_bytes(path.read_bytes()[:-30])
    return ["/0"]


starts = pytest.mark.parametrize(
    "start", [new_file, ours, ours_without_interactions, of_the_go_program, torn]
)
Start = Callable[[Path], list[str]]


def moments(path: Path, start: Start, error: BaseException) -> Iterator[FailingDisk]:
    """A disk for each call that an append makes, with each write cut at a few places."""
    for good in range(30):
        for cut in (0, 1, 3, 6, 100):
            for left in path.parent.iterdir():
                if left.is_file():
                    left.unlink()
            disk = FailingDisk(error, good, cut)
            yield disk
            if disk.good >= 0:
                return


@starts
@pytest.mark.parametrize("sync", [False, True])
def test_a_kill_at_any_call_loses_nothing_that_was_acknowledged(
    tmp_path: Path, start: Start, *, sync: bool
) -> None:
    path = tmp_path / "api.json"
    count = 0
    for disk in moments(path, start, Killed()):
        count += 1
        there = start(path)
        acknowledged = list(there)
        victim = ledger(path, disk, sync=sync)
        try:
            victim.refresh([Filing(key_of)])
            for number in range(2):
                victim.append([(recording(b"/new%d" % number), None)], [Filing(key_of)])
                acknowledged.append(f"/new{number}")
        except Killed:
            pass
        after = Deck(path)
        if path.exists():  # the next start sets it right, append or not
            assert paths(path)[: len(acknowledged)] == acknowledged
        after.append(recording(b"/after"))
        after.close()
        kept = paths(path)
        assert kept[: len(acknowledged)] == acknowledged
        assert kept[len(acknowledged) :] in (
            ["/after"],
            [f"/new{len(acknowledged) - len(there)}", "/after"],
        )
    assert count > 10


@starts
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failing_call_leaves_the_file_unchanged(tmp_path: Path, start: Start, code: int) -> None:
    """Once the disk works again, recording goes on."""
    path = tmp_path / "api.json"
    for disk in moments(path, start, OSError(code, os.strerror(code))):
        there = start(path)
        disk.for_ever = False
        victim = ledger(path, disk)
        victim.refresh([Filing(key_of)])
        acknowledged = list(there)
        for number in range(4):
            before = path.read_bytes() if path.exists() else b""
            try:
                victim.append([(recording(b"/new%d" % number), None)], [Filing(key_of)])
                acknowledged.append(f"/new{number}")
            except OSError:
                after = path.read_bytes() if path.exists() else b""
                assert after == before or paths(path) == acknowledged  # laid out, at most
        assert paths(path) == acknowledged
        assert len(acknowledged) >= len(there) + 3
        assert not list(tmp_path.glob(".*.tmp"))
        assert all(aside.stat().st_size for aside in tmp_path.glob("*.torn*"))


def test_a_failure_names_the_recording_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "api.json"
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    ours(path)
    deck = Deck(path, disk=FailingDisk(error, 0))
    with pytest.raises(
        StoreFailed, match=r"GET /lost was not recorded: .*api\.json: No space left on device"
    ):
        deck.append(recording(b"/lost"))
    assert deck.count(b"/lost") == 0
    deck.close()
    assert paths(path) == ["/0", "/1"]


class TestTheFirstRecording:
    def test_the_new_file_is_never_empty(self, tmp_path: Path) -> None:
        """A reader that takes no lock finds a cassette, or no file."""
        path = tmp_path / "api.json"
        seen = []

        class Watched(Disk):
            def sync(self, fd: int) -> None:
                seen.append(path.read_bytes() if path.exists() else None)

            def write(self, fd: int, parts: Sequence[BytesLike], offset: int) -> None:
                seen.append(path.read_bytes() if path.exists() else None)
                super().write(fd, parts, offset)

        deck = Deck(path, disk=Watched())
        deck.append(recording(b"/0"))
        deck.close()
        assert seen[0] is None
        assert seen[1] is not None
        assert b"" not in seen
        assert paths(path) == ["/0"]
        assert [one.name for one in tmp_path.iterdir()] == ["api.json"]

    @pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
    def test_a_file_system_without_links(self, tmp_path: Path, code: int) -> None:
        class Linkless(Disk):
            def link(self, source: Path, target: Path) -> None:
                raise OSError(code, os.strerror(code))

        deck = Deck(tmp_path / "api.json", disk=Linkless())
        deck.append(recording(b"/0"), recording(b"/1"))
        deck.close()
        assert paths(tmp_path / "api.json") == ["/0", "/1"]
        assert [one.name for one in tmp_path.iterdir()] == ["api.json"]

    def test_two_that_create_it_at_once_share_it(self, tmp_path: Path) -> None:
        path = tmp_path / "api.json"
        other = Deck(path)

        class Late(Disk):
            def link(self, source: Path, target: Path) -> None:
                if not target.exists():
                    other.append(recording(b"/other"))
                super().link(source, target)

        deck = Deck(path, disk=Late())
        deck.append(recording(b"/0"))
        deck.close()
        other.close()
        assert paths(path) == ["/other", "/0"]

    def test_an_empty_file_becomes_a_cassette_at_the_start(self, tmp_path: Path) -> None:
        path = tmp_path / "api.json"
        path.touch()
        Deck(path, access="replay").close()
        assert path.read_bytes() == b""
        Deck(path).close()
        assert paths(path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"cannot mount a tmpfs: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


class TestAFullDisk:
    def test_the_file_stays_valid_and_recording_goes_on_later(self, small_disk: Path) -> None:
        path = small_disk / "api.json"
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 100_000)
        deck = Deck(path)
        kept = []
        with suppress(StoreFailed):
            for number in range(100):
                deck.append(recording(b"/%d" % number, b"y" * 5000))
                kept.append(f"/{number}")
        with pytest.raises(StoreFailed, match="No space left on device"):
            deck.append(recording(b"/lost", b"y" * 5000))
        assert len(kept) > 10
        assert paths(path) == kept
        with pytest.raises(StoreFailed, match="No space left on device"):
            deck.append(recording(b"/large", b"z" * (2 << 20)))
        assert paths(path) == kept
        ballast.unlink()
        deck.append(recording(b"/later", b"y" * 5000))
        deck.close()
        assert paths(path) == [*kept, "/later"]
        assert not list(small_disk.rglob("*.tmp"))

    def test_removing_the_cassette_frees_its_space(self, small_disk: Path) -> None:
        """Also while no recording is requested, as in mode record."""
        path = small_disk / "api.json"
        (small_disk / "ballast").write_bytes(b"x" * 100_000)
        deck = Deck(path)
        with suppress(StoreFailed):
            for number in range(100):
                deck.append(recording(b"/%d" % number, b"y" * 5000))
        path.unlink()
        with suppress(StoreFailed):
            deck.append(recording(b"/lost", b"y" * 5000))
        deck.append(recording(b"/later", b"y" * 5000))
        deck.close()
        assert paths(path)[-1] == "/later"

    def test_a_file_that_cannot_be_rewritten_stays(self, small_disk: Path) -> None:
        path = small_disk / "api.json"
        text = (INTEROP / "go-forward.json").read_bytes()
        path.write_bytes(text)
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(b"x" * 300_000)
        deck = Deck(path)
        with pytest.raises(StoreFailed, match="No space left on device"):
            deck.append(recording())
        deck.close()
        assert path.read_bytes() == text
