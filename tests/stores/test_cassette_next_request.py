"""A cassette that others change while buffr runs: the next request sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest
from cassettes import Deck, paths
from recordings import exchange_of, key, recording
from test_cassette_outside import Write, aged, by_rename, git, in_place, ways
from twisted.internet.task import Clock

from buffr.errors import CassetteError
from buffr.stores.disk import BytesLike, Disk
from buffr.transport.turn import Turn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


def recorded(path: Path, *bodies: bytes) -> Deck:
    """A cassette with ``/0``, ``/1`` and so on, all of them asked for once."""
    deck = Deck(path)
    deck.append(*[recording(b"/%d" % number, body) for number, body in enumerate(bodies)])
    for number, body in enumerate(bodies):
        assert deck.bodies(b"/%d" % number) == [body]
    return deck


def open_files() -> set[str]:
    """What the descriptors of this process lead to."""
    names = set()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.add(str(one.readlink()))
    return names


def goes_through(deck: Deck, target: bytes) -> bool:
    """Whether a look-up is answered without waiting for anything."""
    finding = deck.store.find([key(target)])
    try:
        finding.send(None)
    except StopIteration:
        return True
    finding.close()
    return False


def settled(deck: Deck) -> Deck:
    """The deck once its file's status is certain, as it was not changed just now."""
    while deck.cassette.changed():
        deck.count(b"/0")
    return deck


class TestChanges:
    @ways
    @pytest.mark.parametrize("after", [b"two", b"another"])
    def test_an_answer_is_edited(self, path: Path, write: Write, after: bytes) -> None:
        """Also one of the same size, in the very moment of the recording."""
        deck = recorded(path, b"one", b"same")
        write(path, path.read_bytes().replace(b'"one"', b'"%b"' % after))
        assert deck.bodies(b"/0") == [after]
        assert deck.bodies(b"/1") == [b"same"]
        deck.close()

    @ways
    def test_one_edit_after_the_other(self, path: Path, write: Write) -> None:
        """All of one size, as fast as they come: the file's time need not show each."""
        deck = recorded(path, b"000")
        for number in range(1, 60):
            text = path.read_bytes()
            write(path, text.replace(b'"%03d"' % (number - 1), b'"%03d"' % number))
            assert deck.bodies(b"/0") == [b"%03d" % number]
        deck.close()

    def test_an_edit_that_keeps_size_and_time(self, path: Path) -> None:
        deck = recorded(path, b"one")
        aged(path)
        assert deck.bodies(b"/0") == [b"one"]
        before = path.stat()
        in_place(path, path.read_bytes().replace(b'"one"', b'"two"'))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert deck.bodies(b"/0") == [b"two"]
        deck.close()

    @ways
    def test_a_recording_is_taken_out(self, path: Path, write: Write) -> None:
        deck = recorded(path, b"a", b"b", b"c")
        aged(path)
        value = json.loads(path.read_bytes())
        del value["interactions"][1]
        write(path, json.dumps(value, indent=2).encode())
        assert [deck.count(b"/%d" % number) for number in range(3)] == [1, 0, 1]
        deck.close()

    def test_the_name_leads_elsewhere(self, path: Path, tmp_path: Path) -> None:
        """A link that is switched, as Kubernetes does with its volumes."""
        recorded(tmp_path / "one.json", b"one").close()
        recorded(tmp_path / "two.json", b"two").close()
        path.symlink_to("one.json")
        deck = Deck(path, access="replay")
        assert deck.bodies(b"/0") == [b"one"]
        (tmp_path / "new").symlink_to("two.json")
        (tmp_path / "new").replace(path)
        assert deck.bodies(b"/0") == [b"two"]
        deck.close()

    def test_a_checkout(self, path: Path) -> None:
        git(path, "init", "--quiet")
        deck = recorded(path, b"one")
        for name in ("one", "two"):
            git(path, "checkout", "--quiet", "-b", name)
            in_place(path, path.read_bytes().replace(b'"one"', b'"%b"' % name.encode()))
            git(path, "add", ".")
            git(path, "commit", "--quiet", "--allow-empty", "-m", "x")
        for name in ("one", "two", "one"):
            git(path, "checkout", "--quiet", name)
            assert deck.bodies(b"/0") == [name.encode()]
        deck.close()

    @ways
    def test_the_same_text_again_changes_nothing(self, path: Path, write: Write) -> None:
        """Places and decoded recordings stay; later ones are found in the current file."""
        deck = recorded(path, b"a", b"b")
        found = deck.turns.run(deck.store.find([key(b"/1")]))
        assert found is not None
        loaded = deck.turns.run(deck.store.load(found.places[0]))
        write(path, path.read_bytes())
        again = deck.turns.run(deck.store.find([key(b"/1")]))
        assert again is not None
        assert list(again.places) == list(found.places)
        assert deck.turns.run(deck.store.load(again.places[0])) is loaded
        deck.append(recording(b"/new", b"new"))
        assert deck.bodies(b"/new") == [b"new"]
        deck.close()
        assert paths(path) == ["/0", "/1", "/new"]

    def test_a_file_that_was_just_changed_is_compared_once_more(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Within a tick of the system's clock, another change need not show in its status."""
        deck = settled(recorded(path, b"one"))
        monkeypatch.setattr("buffr.stores.cassette.ledger._TICK_NS", 1 << 62)
        in_place(path, path.read_bytes().replace(b'"one"', b'"two"'))
        assert deck.bodies(b"/0") == [b"two"]
        assert deck.cassette.changed()
        places = deck.cassette.recordings.places()
        assert deck.count(b"/0") == 1
        assert deck.cassette.recordings.places() == places
        monkeypatch.setattr("buffr.stores.cassette.ledger._TICK_NS", 0)
        assert deck.count(b"/0") == 1
        assert not deck.cassette.changed()
        deck.close()

    def test_what_was_looked_up_in_another_file_is_looked_up_anew(self, path: Path) -> None:
        recorded(path, b"a", b"b").close()
        deck, keys = Deck(path), [key(b"/new")]
        for _ in range(2):
            assert deck.turns.run(deck.store.find(keys)) is None
        by_rename(path, path.read_bytes().replace(b'"/1"', b'"/new"'))
        assert deck.turns.run(deck.store.find(keys)) is not None
        assert deck.bodies(b"/new") == [b"b"]
        deck.close()


class TestRemoval:
    def test_the_space_of_a_removed_file_is_free_at_once(self, path: Path) -> None:
        """Who makes room on a full disk removes it for that."""
        deck = recorded(path, b"a")
        real = os.path.realpath(path)
        assert real in open_files()
        path.unlink()
        assert deck.count(b"/0") == 0
        assert not [name for name in open_files() if name.startswith(real)]
        deck.close()

    def test_a_closed_one_has_no_open_file(self, path: Path) -> None:
        deck = recorded(path, b"a")
        deck.close()
        assert os.path.realpath(path) not in open_files()
        assert deck.cassette.request(0) is not None  # which is opened for that

    def test_auto_begins_an_empty_one(self, path: Path) -> None:
        deck = recorded(path, b"a")
        path.unlink()
        assert deck.count(b"/0") == 0
        deck.append(recording(b"/0", b"b"))
        assert deck.bodies(b"/0") == [b"b"]
        deck.close()
        assert paths(path) == ["/0"]

    def test_replay_reports_that_it_is_gone(self, path: Path) -> None:
        recorded(path, b"a").close()
        deck = Deck(path, access="replay")
        assert deck.count(b"/0") == 1
        assert deck.store.trouble == ""
        path.unlink()
        assert deck.count(b"/0") == 0
        assert deck.store.trouble == f"{path} does not exist any more"
        recorded(path, b"b").close()
        assert deck.bodies(b"/0") == [b"b"]
        assert deck.store.trouble == ""
        deck.close()

    def test_replay_of_one_that_never_was(self, path: Path) -> None:
        deck = Deck(path, access="replay")
        assert deck.count(b"/0") == 0
        assert deck.store.trouble == f"{path} does not exist"
        deck.close()


class TestWhatCannotBeRead:
    def test_earlier_recordings_stay_in_use(self, path: Path) -> None:
        """Also recordings that were not requested before.

        The old file still exists without a name.
        """
        Deck(path).append(*[recording(b"/%d" % number) for number in range(5)])
        deck = Deck(path)
        by_rename(path, b"<<<<<<< HEAD\n" + path.read_bytes())
        for number in range(5):
            assert len(deck.bodies(b"/%d" % number)) == 1
        assert "contains a merge conflict" in deck.store.trouble
        assert [line for line in deck.said if "stay in use" in line] == [deck.store.trouble]
        deck.close()

    @pytest.mark.parametrize("change", [b"oops", b"", b"a longer one, with more"])
    def test_a_typo_in_the_very_file_spoils_only_its_recording(
        self, path: Path, change: bytes
    ) -> None:
        """Those before it are where they were, those after it were all moved equally far."""
        Deck(path).append(*[recording(b"/%d" % n, b"body-%d" % n) for n in range(5)])
        deck = Deck(path)
        in_place(path, path.read_bytes().replace(b'"body-2"', b'"body-2' + change))
        for number in (0, 1, 3, 4):
            assert deck.bodies(b"/%d" % number) == [b"body-%d" % number]
        with pytest.raises(
            CassetteError, match=r"interaction 2 is gone: .* cannot be read: .*json:"
        ):
            deck.bodies(b"/2")
        deck.close()

    def test_a_removed_recording_is_reported(self, path: Path) -> None:
        Deck(path).append(recording(b"/0"), recording(b"/1"))
        deck = Deck(path)
        in_place(path, b"{")
        with pytest.raises(CassetteError, match=r"interaction 0 is gone: .*/api\.json:1:2: "):
            deck.bodies(b"/0")
        in_place(path, b'{"interactions": []}')
        assert deck.count(b"/0") == 0
        deck.close()


class TestCost:
    def test_an_unchanged_file_is_not_waited_for(self, path: Path) -> None:
        deck = recorded(path, b"a")
        assert all(goes_through(deck, b"/0") for _ in range(3))
        assert not deck.cassette.changed()
        deck.close()

    def test_one_look_serves_a_turn_of_the_reactor(self, path: Path) -> None:
        """As far as a turn's end is known: no change can be detected earlier."""
        clock = Clock()
        recorded(path, b"a").close()
        deck = settled(Deck(path, turn=Turn(clock)))
        deck.turn.at_end(lambda: None)
        assert goes_through(deck, b"/0")
        path.unlink()
        assert goes_through(deck, b"/0")
        clock.advance(0)
        assert not goes_through(deck, b"/0")
        deck.close()

    def test_the_file_is_checked_even_without_a_turn(self, path: Path) -> None:
        recorded(path, b"a").close()
        deck = settled(Deck(path))
        assert goes_through(deck, b"/0")
        path.unlink()
        assert not goes_through(deck, b"/0")
        deck.close()


class Gate(Disk):
    """Stops the first change of the file's tail until it is released."""

    def __init__(self) -> None:
        self.reached, self.open = Event(), Event()
        self.open.set()

    def write(self, fd: int, parts: Sequence[BytesLike], offset: int) -> None:
        if offset and not self.open.is_set():
            self.reached.set()
            assert self.open.wait(120)
        super().write(fd, parts, offset)


class TestWhileItRecords:
    def test_its_own_recordings_are_not_a_change(self, path: Path) -> None:
        """Once one is in the file, the thread's word for it counts before it has landed."""
        deck = recorded(path, b"a")
        waiting = deck.turns.start(deck.store.append(recording(b"/own")))
        deck.turns.step()
        readings = deck.cassette._known.readings
        while deck.cassette._ledger.known == deck.cassette._known:
            Event().wait(0.001)  # the thread has not appended yet
        assert not waiting
        assert not deck.cassette.changed()
        assert deck.cassette._ledger.known.readings == readings
        deck.close()
        assert waiting == [None]

    def test_a_change_is_detected_anyway(self, path: Path) -> None:
        gate = Gate()
        deck = Deck(path, disk=gate)
        deck.append(recording(b"/0", b"one"))
        assert deck.bodies(b"/0") == [b"one"]
        gate.open.clear()
        waiting = deck.turns.start(deck.store.append(recording(b"/own")))
        deck.turns.step()
        assert gate.reached.wait(120)
        assert deck.cassette.changed()  # it is in the middle: who asks now waits
        by_rename(path, path.read_bytes()[:0] + whole(b"two"))
        gate.open.set()
        assert deck.bodies(b"/0") == [b"two"]
        deck.close()
        assert waiting == [None]
        assert paths(path) == ["/0", "/own"]

    def test_a_refresh_does_not_wait_for_all_that_is_to_be_written(self, path: Path) -> None:
        gate = Gate()
        deck = Deck(path, disk=gate)
        deck.append(recording(b"/0"))
        gate.open.clear()
        first = deck.turns.start(deck.store.append(recording(b"/first")))
        deck.turns.step()
        assert gate.reached.wait(120)
        large = b"x" * (1 << 20)
        queued = [deck.turns.start(deck.store.append(recording(b"/q", large))) for _ in range(40)]
        refresh = deck.turns.start(deck.cassette.caught_up())
        gate.open.set()
        while not refresh:
            deck.turns.step()
        assert first
        assert not all(queued)
        deck.close()
        assert all(each == [None] for each in queued)


def whole(body: bytes) -> bytes:
    value = {"method": "GET", "path": "/0"}
    answer = {"status": 200, "body": body.decode()}
    element = {"type": "http", "http": {"request": value, "response": answer}}
    return json.dumps({"interactions": [element]}).encode()


class TestLargeOnes:
    def test_they_are_read_off_the_reactor(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/large", b"x" * 200_000), recording(b"/small", b"x" * 100))
        large = deck.turns.start(deck.store.load(0))
        same = deck.turns.start(deck.store.load(0))
        assert not large
        assert len(deck.turns.start(deck.store.load(1))) == 1
        while not (large and same):
            deck.turns.step()
        assert large[0] is same[0]
        assert deck.turns.start(deck.store.load(0)) == large
        loaded = large[0]
        assert not isinstance(loaded, Exception)
        assert exchange_of(loaded).body.size_bytes == 200_000  # type: ignore[arg-type]
        deck.close()
