"""Bodies over 1 MiB are files next to the cassette, named by the digest of their bytes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve
from cassettes import Deck
from recordings import exchange_of, recording

from buffr.errors import StoreFailed
from buffr.interaction import Body, Chunk, Searched
from buffr.stores import disk
from buffr.stores.cassette.body_files import INLINE_BYTES
from buffr.stores.disk import BytesLike, Disk
from buffr.transport.spool import Spool

LARGE = os.urandom(INLINE_BYTES + 1)


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    return Deck(tmp_path / "api.json")


def files(deck: Deck) -> list[str]:
    directory = deck.path.with_name("api.d")
    return sorted(file.name for file in directory.iterdir()) if directory.exists() else []


def from_spool(deck: Deck, data: bytes, announced: int | None = None) -> Body:
    spool = deck.path.with_name("spool")
    spool.write_bytes(data)
    return Body(size_bytes=len(data) if announced is None else announced, file=spool)


def test_a_large_answer_is_named_by_its_digest(deck: Deck) -> None:
    deck.append(recording(b"/a", LARGE))
    (element,) = json.loads(deck.path.read_bytes())["interactions"]
    response = element["http"]["response"]
    assert response["body_file"] == sha256(LARGE).hexdigest()
    assert response["body_size"] == len(LARGE)
    assert "body" not in response
    assert files(deck) == [sha256(LARGE).hexdigest()]


def test_where_an_open_file_is_not_found(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc, as in some chroots, it can get no name later."""
    monkeypatch.setattr(disk, "path_of", lambda fd: Path(f"/dev/null/{fd}"))
    deck.append(recording(b"/a", LARGE))
    assert files(deck) == [sha256(LARGE).hexdigest()]


def test_the_same_body_is_kept_once(deck: Deck) -> None:
    deck.append(recording(b"/a", LARGE))
    (name,) = files(deck)
    before = deck.path.with_name("api.d").joinpath(name).stat()
    deck.append(recording(b"/b", LARGE), evolve(recording(b"/c"), body=from_spool(deck, LARGE)))
    assert files(deck) == [name]
    after = deck.path.with_name("api.d").joinpath(name).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_file_of_another_size_is_replaced(deck: Deck) -> None:
    """Whatever is there under the name, it is not the body."""
    deck.append(recording(b"/a", LARGE))
    (name,) = files(deck)
    file = deck.path.with_name("api.d") / name
    file.write_bytes(b"cut")
    deck.append(recording(b"/b", LARGE))
    assert file.read_bytes() == LARGE


def test_a_large_question_is_kept_as_well(deck: Deck) -> None:
    asked = recording(b"/a")
    deck.append(evolve(asked, request=evolve(asked.request, body=Body.of(LARGE))))
    found = deck.turns.run(deck.store.load(0)).request.body
    assert found.file is not None
    assert found.file.read_bytes() == LARGE


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES])
def test_a_small_spool_goes_into_the_cassette(deck: Deck, size: int) -> None:
    deck.append(evolve(recording(b"/a"), body=from_spool(deck, LARGE[:size])))
    assert deck.bodies(b"/a") == [LARGE[:size]]
    assert files(deck) == []


def test_a_spool_that_exists_by_descriptor_only(deck: Deck, tmp_path: Path) -> None:
    """As a tape's temporary file, which has no name."""
    with (tmp_path / "unlinked").open("w+b") as file:
        file.write(LARGE)
        file.flush()
        (tmp_path / "unlinked").unlink()
        spool = Body(size_bytes=len(LARGE), file=Path(f"/dev/fd/{file.fileno()}"))
        deck.append(evolve(recording(b"/a"), body=spool))
    assert files(deck) == [sha256(LARGE).hexdigest()]


@pytest.mark.parametrize("announced", [10, len(LARGE) + 5])
def test_a_spool_of_another_size_is_refused(deck: Deck, announced: int) -> None:
    with pytest.raises(StoreFailed, match=rf"it has {len(LARGE)} bytes, not {announced}"):
        deck.append(evolve(recording(b"/a"), body=from_spool(deck, LARGE, announced)))
    assert files(deck) == []
    assert not deck.path.exists()


def test_a_large_event_stream_keeps_its_cuts(deck: Deck) -> None:
    kept = recording(b"/a", LARGE, headers=((b"Content-Type", b"text/event-stream"),))
    chunks = (Chunk(1, 5), Chunk(len(LARGE) - 1, 7))
    deck.append(evolve(kept, chunks=chunks))
    loaded = exchange_of(deck.turns.run(deck.store.load(0)))
    assert loaded.chunks == chunks
    assert loaded.body.size_bytes == len(LARGE)


def test_a_directory_that_was_removed_comes_back(deck: Deck) -> None:
    deck.append(recording(b"/a", LARGE))
    shutil.rmtree(deck.path.with_name("api.d"))
    deck.append(recording(b"/b", LARGE))
    assert len(files(deck)) == 1


def test_the_remains_of_a_kill_are_removed_later(deck: Deck) -> None:
    directory = deck.path.with_name("api.d")
    directory.mkdir()
    for name, age_s in ((".old.tmp", 7200), (".new.tmp", 60)):
        (directory / name).touch()
        stamp = (directory / name).stat().st_mtime - age_s
        os.utime(directory / name, (stamp, stamp))
    deck.append(recording(b"/a", LARGE))
    assert ".old.tmp" not in files(deck)
    assert ".new.tmp" in files(deck)


class TestSpooled:
    """A body that was spooled beside the cassette, and hashed meanwhile, only gets its name."""

    class NeverWrites(Disk):
        """Writes nothing of a megabyte: no copy of a body."""

        def write(self, fd: int, parts: Sequence[BytesLike], offset: int) -> None:
            assert sum(map(len, parts)) < len(LARGE)
            super().write(fd, parts, offset)

    def body(self, spool: Spool) -> Body:
        spool.write(LARGE)
        known = Searched(sha256(LARGE).hexdigest(), len(LARGE), None)
        return Body(size_bytes=len(LARGE), file=spool.path, searched=known)

    @pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
    @pytest.mark.parametrize("durability", ["process", "disk"])
    def test_it_is_not_copied(self, tmp_path: Path, durability: str) -> None:
        deck = Deck(tmp_path / "api.json", disk=self.NeverWrites(), durability=durability)
        spool = Spool(0, tmp_path)
        deck.append(evolve(recording(b"/a"), body=self.body(spool)))
        spool.close()
        assert files(deck) == [sha256(LARGE).hexdigest()]
        kept = deck.path.with_name("api.d") / sha256(LARGE).hexdigest()
        assert kept.read_bytes() == LARGE
        assert kept.stat().st_mode & 0o777 == 0o600

    def test_elsewhere_it_is(self, deck: Deck) -> None:
        """A file in memory is on another file system than any cassette."""
        spool = Spool(0, Path("/dev/shm"))  # no name is made there
        deck.append(evolve(recording(b"/a"), body=self.body(spool)))
        spool.close()
        assert files(deck) == [sha256(LARGE).hexdigest()]

    def test_one_that_was_cut_later_is_copied(self, deck: Deck, tmp_path: Path) -> None:
        spool = Spool(0, tmp_path)
        body = evolve(self.body(spool), searched=Searched("0" * 64, len(LARGE) + 1, None))
        deck.append(evolve(recording(b"/a"), body=body))
        spool.close()
        assert files(deck) == [sha256(LARGE).hexdigest()]
