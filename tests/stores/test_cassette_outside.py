"""What people and other programs do to a cassette while buffr has it open."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread, get_ident

import pytest
from cassettes import QUIET_S, Deck, paths
from go_schema import interactions
from recordings import key, key_of, recording
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.interaction import IndexEntry
from buffr.matching.key import RecordedKey
from buffr.stores.base import Matches
from buffr.stores.cassette.recent import WINDOW_NS

Write = Callable[[Path, bytes], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


def in_place(path: Path, text: bytes) -> None:
    """As most editors, prettier and shells save."""
    path.write_bytes(text)


def by_rename(path: Path, text: bytes) -> None:
    """As ``sed -i`` and careful editors save."""
    other = path.with_name("other")
    other.write_bytes(text)
    other.replace(path)


def by_removal(path: Path, text: bytes) -> None:
    """As git checks out."""
    path.unlink()
    path.write_bytes(text)


ways = pytest.mark.parametrize("write", [in_place, by_rename, by_removal])


def aged(path: Path) -> None:
    """Let the file look as if its last append was a while ago."""
    past = path.stat().st_mtime_ns - 60_000_000_000
    os.utime(path, ns=(past, past))


def layouts(text: bytes) -> dict[str, bytes]:
    value = json.loads(text)
    return {
        "minified": json.dumps(value).encode(),
        "four spaces": json.dumps(value, indent=4).encode() + b"\n",
        "CRLF": text.replace(b"\n", b"\r\n"),
        "without a newline": text.rstrip(),
        "escaped": json.dumps(value, indent=2).encode(),
        "prettier": prettier(text),
    }


def prettier(text: bytes) -> bytes:
    """Short lists in one line, as prettier sets them."""
    return text.replace(b'[\n              "', b'["').replace(b'"\n            ]', b'"]')


class TestReformatting:
    @ways
    @pytest.mark.parametrize("layout", sorted(layouts(b"{}")))
    def test_nothing_is_lost(self, path: Path, write: Write, layout: str) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        before = interactions(path.read_bytes())
        write(path, layouts(path.read_bytes())[layout])
        deck.append(recording(b"/2"))
        write(path, layouts(path.read_bytes())[layout])
        assert deck.count(b"/1") == 1
        deck.append(recording(b"/3"))
        deck.close()
        assert paths(path) == ["/0", "/1", "/2", "/3"]
        assert interactions(path.read_bytes())[:2] == before

    @ways
    def test_an_empty_list_in_one_line(self, path: Path, write: Write) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        write(path, b'{"version":1,"interactions":[]}')
        assert (deck.count(b"/none"), deck.count(b"/0")) == (0, 0)
        deck.append(recording(b"/1"))
        deck.close()
        assert paths(path) == ["/1"]


class TestEdits:
    @ways
    def test_an_edited_answer_is_replayed(self, path: Path, write: Write) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0", b"one answer"), recording(b"/1"))
        assert deck.bodies(b"/0") == [b"one answer"]
        aged(path)
        write(path, path.read_bytes().replace(b"one answer", b"the answer"))
        deck.turns.seconds += 1
        deck.count(b"/0")  # this look begins the reading
        assert deck.count(b"/none") == 0  # a miss waits for it
        assert deck.bodies(b"/0") == [b"the answer"]
        deck.append(recording(b"/2"))
        deck.close()
        assert paths(path) == ["/0", "/1", "/2"]
        assert b"the answer" in path.read_bytes()

    @ways
    def test_a_removed_recording_is_not_replayed(self, path: Path, write: Write) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        aged(path)
        value = json.loads(path.read_bytes())
        del value["interactions"][0]
        write(path, json.dumps(value, indent=2).encode())
        assert deck.count(b"/none") == 0
        assert (deck.count(b"/0"), deck.count(b"/1")) == (0, 1)
        deck.close()

    @ways
    def test_a_miss_looks_at_once(self, path: Path, write: Write) -> None:
        """Added by hand, or recorded by another process: found without waiting a second."""
        other = Deck(path.with_name("other.json"))
        other.append(recording(b"/0"), recording(b"/new"))
        deck = Deck(path)
        deck.append(recording(b"/0"))
        write(path, other.path.read_bytes())
        assert deck.count(b"/new") == 1
        deck.close()

    def test_a_hit_is_served_from_known_recordings(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        in_place(path, b"{")
        assert deck.count(b"/0") == 1

    def test_another_version_is_checked_out(self, path: Path) -> None:
        git(path, "init", "--quiet")
        deck = Deck(path)
        deck.append(recording(b"/a"))
        commit(path)
        git(path, "checkout", "--quiet", "-b", "other")
        deck.append(recording(b"/b"))
        commit(path)
        git(path, "checkout", "--quiet", "main")
        assert [deck.count(target) for target in (b"/none", b"/b", b"/a")] == [0, 0, 1]
        deck.append(recording(b"/c"))
        assert paths(path) == ["/a", "/c"]
        commit(path)
        git(path, "checkout", "--quiet", "other")
        deck.append(recording(b"/d"))
        deck.close()
        assert paths(path) == ["/a", "/b", "/d"]

    def test_a_removed_file_is_a_fresh_start(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        path.unlink()
        assert deck.count(b"/none") == 0
        assert deck.count(b"/0") == 0
        deck.append(recording(b"/1"))
        path.unlink()
        deck.append(recording(b"/2"))
        deck.close()
        assert paths(path) == ["/2"]


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda text: text.replace(b'"path": "/1"', b'"path": /1'), r"api\.json:\d+:\d+: "),
            (lambda text: text.replace(b'"version": 1', b'"version": 2'), r"json:2:14: version 2"),
            (lambda text: b"<<<<<<< HEAD\n" + text, "merge conflict"),
            (lambda text: b"[" + text + b"]", "top level must be an object"),
        ],
    )
    @ways
    def test_it_is_refused_until_it_is_mended(
        self, path: Path, write: Write, damage: Callable[[bytes], bytes], said: str
    ) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        whole = path.read_bytes()
        write(path, damage(whole))
        for _ in range(2):
            with pytest.raises(StoreFailed, match=rf"GET /lost was not recorded: .*{said}"):
                deck.append(recording(b"/lost"))
        assert path.read_bytes() == damage(whole)
        assert (deck.count(b"/1"), deck.count(b"/none")) == (1, 0)
        write(path, whole)
        deck.append(recording(b"/2"))
        deck.close()
        assert paths(path) == ["/0", "/1", "/2"]

    def test_a_refresh_reports_it_once(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        in_place(path, b"oops")
        for _ in range(5):
            deck.turns.seconds += 2
            assert deck.count(b"/none") == 0
        deck.close()
        assert len([line for line in deck.said if "earlier recordings stay in use" in line]) == 1


class TestWrittenBackWithoutTheLastRecordings:
    """A formatter reads, buffr appends, the formatter writes."""

    @ways
    def test_the_recordings_come_back(self, path: Path, write: Write) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        read = path.read_bytes()
        deck.append(recording(b"/2"), recording(b"/3"))
        write(path, json.dumps(json.loads(read)).encode())
        deck.append(recording(b"/4"))
        deck.close()
        assert paths(path) == ["/0", "/1", "/2", "/3", "/4"]
        assert Deck(path).count(b"/3") == 1

    @pytest.mark.parametrize("by_a_look", [True, False])
    def test_without_a_further_recording(self, path: Path, *, by_a_look: bool) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        read = path.read_bytes()
        deck.append(recording(b"/1"))
        in_place(path, read.rstrip())
        if by_a_look:
            assert deck.count(b"/none") == 0
            assert deck.count(b"/1") == 1
        deck.close()
        assert paths(path) == ["/0", "/1"]

    @ways
    def test_after_a_while_a_change_is_meant(self, path: Path, write: Write) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        read = path.read_bytes()
        deck.append(recording(b"/1"))
        write(path, read.rstrip())
        future = path.stat().st_mtime_ns + 3_000_000_000
        os.utime(path, ns=(future, future))
        deck.append(recording(b"/2"))
        deck.close()
        assert paths(path) == ["/0", "/2"]

    def test_a_checkout_of_an_earlier_state_is_meant(self, path: Path) -> None:
        """Git brings the very bytes back in a new file."""
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        read = path.read_bytes()
        deck.append(recording(b"/2"))
        by_removal(path, read)
        deck.append(recording(b"/3"))
        deck.close()
        assert paths(path) == ["/0", "/1", "/3"]

    def test_a_checkout_of_another_programs_file_is_meant(self, path: Path) -> None:
        other = Deck(path)
        other.append(recording(b"/0"))
        other.close()
        foreign = path.read_bytes().rstrip()
        path.write_bytes(foreign)
        deck = Deck(path)
        deck.append(recording(b"/1"))
        by_removal(path, foreign)
        deck.append(recording(b"/2"))
        deck.close()
        assert paths(path) == ["/0", "/2"]

    def test_another_list_is_meant(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"), recording(b"/2"))
        value = json.loads(path.read_bytes())
        del value["interactions"][1:]
        value["interactions"].insert(0, value["interactions"].pop())
        value["interactions"][0]["http"]["request"]["path"] = "/edited"
        in_place(path, json.dumps(value).encode())
        deck.append(recording(b"/3"))
        deck.close()
        assert paths(path) == ["/edited", "/3"]


class TestWhileSomeoneWrites:
    def test_a_file_in_the_middle_of_a_save_is_waited_for(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        aged(path)
        deck.append(recording(b"/2"))
        text = path.read_bytes()
        begun = Event()

        def save_slowly() -> None:
            with path.open("wb", buffering=0) as file:
                for start in range(0, len(text), len(text) // 6):
                    file.write(text[start : start + len(text) // 6])
                    begun.set()
                    Event().wait(QUIET_S / 4)

        saving = Thread(target=save_slowly)
        saving.start()
        begun.wait()
        deck.append(recording(b"/3"))
        saving.join()
        deck.close()
        assert paths(path) == ["/0", "/1", "/2", "/3"]
        assert not path.with_name("api.json.torn").exists()

    def test_a_formatter_that_runs_all_the_time_loses_nothing(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/first"))
        done = Event()

        def reformat() -> None:
            indent = 0
            other = path.with_name("other")
            while not done.wait(0.1):
                indent = 4 - indent
                begun_ns = time.time_ns()
                with suppress(json.JSONDecodeError):  # it read between an append's two steps
                    text = json.dumps(json.loads(path.read_bytes()), indent=indent).encode()
                    other.write_bytes(text)
                    if time.time_ns() - begun_ns < WINDOW_NS // 2:  # else that could be meant
                        other.replace(path)

        formatter = Thread(target=reformat)
        formatter.start()
        for number in range(80):
            deck.append(recording(b"/%d" % number))
            done.wait(0.01)
        done.set()
        formatter.join()
        deck.close()
        recorded = paths(path)
        assert set(recorded) == {"/first", *(f"/{number}" for number in range(80))}
        assert not list(path.parent.glob("*.torn*"))


def git(path: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.org",
         "-c", "init.defaultBranch=main", *arguments],
        cwd=path.parent, check=True,
    )  # fmt: skip


def commit(path: Path) -> None:
    git(path, "add", path.name)
    git(path, "commit", "--quiet", "-m", "x")


class TestTurns:
    """Other programs' changes to the file block the reactor's thread only for a moment."""

    def test_thousands_of_recordings_are_filed_in_parts(self, path: Path) -> None:
        """With keys computed on the cassette's thread; requests find what is still to be filed."""
        deck = Deck(path)
        deck.append(recording(b"/first"))
        other = Deck(path)
        made_on: set[int] = set()

        def noted(entry: IndexEntry) -> RecordedKey:
            made_on.add(get_ident())
            return key_of(entry)

        store = deck.cassette.view(noted)
        deck.turns.run(store.find([key(b"/first")]))
        made_on.clear()
        for number in range(1300):
            other.append(recording(b"/%d" % number))
        asked = [deck.turns.start(store.find([key(b"/%d" % at)])) for at in (0, 700, 1299)]
        filed = [1]
        while not all(asked):
            deck.turns.step()
            filed.append(len(deck.cassette.recordings.places()))
        steps = [after - before for before, after in pairwise(filed)]
        assert sum(steps) == 1300
        assert 100 < max(steps) <= 600
        places = [found.places for (found,) in asked if isinstance(found, Matches)]
        assert [list(each) for each in places] == [[1], [701], [1300]]
        assert made_on
        assert get_ident() not in made_on

    def test_a_large_recording_is_read_for_a_miss_on_the_thread(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/small"), recording(b"/large", b"x" * 300_000))
        entries = deck.turns.start(deck.store.entries((0, 1)))
        assert entries == []
        while not entries:
            deck.turns.step()
        (found,) = entries
        assert not isinstance(found, Failure)
        targets = [each.request.target for each in found if isinstance(each, IndexEntry)]
        assert targets == [b"/small", b"/large"]
