"""A cassette alone: opened, recorded into, replayed, started again."""

from __future__ import annotations

import gc
import json
import os
import stat
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread, get_ident, main_thread

import pytest
from attrs import evolve
from cassettes import QUIET_S, Deck, paths
from go_schema import go_body, interactions
from recordings import exchange_of, key, key_of, recording
from twisted.python.failure import Failure

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    IndexEntry,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.matching.key import RecordedKey
from buffr.stores.cassette.recent import Recent
from buffr.stores.cassette.store import Cassette
from buffr.stores.disk import BytesLike, Disk
from buffr.stores.interactions import StoreAccess

Redaction = Callable[[Interaction], Interaction]
INTEROP = Path(__file__).parent / "interop"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.json"


class TestTheFile:
    def test_opening_creates_nothing(self, path: Path) -> None:
        Deck(path).close()
        assert list(path.parent.iterdir()) == []

    def test_it_is_version_1_after_every_append(self, path: Path) -> None:
        deck = Deck(path)
        for number in range(4):
            deck.append(recording(b"/%d" % number))
            assert len(interactions(path.read_bytes())) == number + 1
        deck.close()
        assert paths(path) == ["/0", "/1", "/2", "/3"]

    def test_only_its_owner_can_read_it(self, path: Path) -> None:
        deck = Deck(path)
        old = os.umask(0)
        try:
            deck.append(recording(body=b"x" * (2 << 20)))
        finally:
            os.umask(old)
        deck.close()
        assert mode(path) == 0o600
        bodies = path.with_name("api.d")
        assert mode(bodies) == 0o700
        assert [mode(body) for body in bodies.iterdir()] == [0o600]

    def test_an_element_over_what_is_kept_in_mind_is_appended_once(self, path: Path) -> None:
        deck = Deck(path)
        megabyte = Frame(Direction.SERVER, FrameKind.TEXT, Body.of(b"x" * (1 << 20)))
        session = WebSocketInteraction(recording(b"/large").request, frames=(megabyte,) * 17)
        deck.turns.run(deck.store.append(session))
        deck.append(recording(b"/small"))
        deck.close()
        kinds = [element["type"] for element in interactions(path.read_bytes())]
        assert kinds == ["websocket", "http"]

    def test_recording_faster_than_the_disk_writes_is_slowed_down(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("buffr.stores.cassette.store._WAITING", 2)
        deck = Deck(path)
        waiting = [
            deck.turns.start(deck.store.append(recording(b"/a", b"%d" % number)))
            for number in range(10)
        ]
        deck.close()
        assert waiting == [[None]] * 10
        assert len(paths(path)) == 10

    def test_an_append_does_not_change_the_text_before_it(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        before = path.read_bytes()
        inode = path.stat().st_ino
        deck.append(recording(b"/1"))
        deck.close()
        assert path.read_bytes().startswith(before.removesuffix(b"\n  ]\n}\n"))
        assert path.stat().st_ino == inode

    def test_the_next_run_finds_the_recordings(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/a", b"1"), recording(b"/b"), recording(b"/a", b"2"))
        deck.append(recording(b"/a", b"cut", truncated="the upstream left"))
        deck.close()
        assert Deck(path, access="replay").bodies(b"/a") == [b"1", b"2"]
        assert len(paths(path)) == 4

    def test_many_at_once_are_one_group_in_order(self, path: Path) -> None:
        deck = Deck(path)
        waiting = [
            deck.turns.start(deck.store.append(recording(b"/a", b"%d" % number)))
            for number in range(500)
        ]
        deck.close()
        assert waiting == [[None]] * 500
        assert Deck(path).bodies(b"/a") == [b"%d" % number for number in range(500)]

    def test_those_of_one_turn_are_appended_in_one_write(self, path: Path) -> None:
        class Counted(Disk):
            added = 0

            def add(self, fd: int, parts: Sequence[BytesLike]) -> None:
                self.added += 1
                super().add(fd, parts)

        disk = Counted()
        deck = Deck(path, disk=disk)
        for _ in range(3):
            waiting = [deck.turns.start(deck.store.append(recording(b"/a"))) for _ in range(20)]
            while not all(waiting):
                deck.turns.step()
        assert disk.added == 3
        deck.close()

    def test_one_that_is_closed_in_the_same_turn_keeps_them(self, path: Path) -> None:
        deck = Deck(path)
        waiting = [deck.turns.start(deck.store.append(recording(b"/%d" % n))) for n in range(3)]
        deck.close()
        assert waiting == [[None]] * 3
        assert paths(path) == ["/0", "/1", "/2"]

    def test_one_that_cannot_be_written_takes_no_other_with_it(self, path: Path) -> None:
        deck = Deck(path)
        lost = evolve(recording(b"/lost"), body=Body(size_bytes=9, file=path / "gone"))
        waiting = [deck.turns.start(deck.store.append(recording(b"/%d" % n))) for n in range(5)]
        failed = deck.turns.start(deck.store.append(lost))
        waiting += [deck.turns.start(deck.store.append(recording(b"/%d" % n))) for n in (5, 6)]
        deck.close()
        assert waiting == [[None]] * 7
        assert "GET /lost was not recorded" in str(failed[0])
        assert paths(path) == [f"/{number}" for number in range(7)]


class TestReplay:
    def test_the_go_programs_answers_are_read_exactly(self) -> None:
        for name in ("go-reverse.json", "go-forward.json"):
            raw = json.loads((INTEROP / name).read_bytes())["interactions"]
            deck = Deck(INTEROP / name, access="replay")
            for place, element in enumerate(raw):
                if element["type"] != "http":
                    continue
                loaded = exchange_of(deck.turns.run(deck.store.load(place)))
                request, response = element["http"]["request"], element["http"]["response"]
                assert loaded.body.data == go_body(response)
                assert loaded.response.status == response["status"]
                assert loaded.response.reason == b"OK"
                assert [(n.decode(), v.decode()) for n, v in loaded.response.headers] == [
                    (name, value)
                    for name, values in response["headers"].items()
                    for value in values
                ]
                assert loaded.request.body.data == request.get("body", "").encode()
                assert loaded.request.host == request.get("host")
                assert [(chunk.delay_ms) for chunk in loaded.chunks] == [
                    chunk["delay_ms"] for chunk in response.get("body_chunks", [])
                ]
            deck.close()

    def test_the_go_programs_request_is_found(self) -> None:
        deck = Deck(INTEROP / "go-forward.json", access="replay")
        assert deck.count(b"/kg/conceptnet/c/en/example?offset=0&limit=2") == 1
        assert deck.count(b"/kg/conceptnet/c/en/example") == 0

    def test_captures_are_read(self) -> None:
        deck = Deck(INTEROP / "go-reverse.json", access="replay")
        loaded = exchange_of(deck.turns.run(deck.store.load(0)))
        assert loaded.captures == (("run-[0-9]{4}", "run-0001"),)

    def test_nothing_is_written(self, path: Path) -> None:
        path.write_bytes(INTEROP.joinpath("go-reverse.json").read_bytes()[:-5000])
        before = path.stat()
        deck = Deck(path, access="replay")
        assert deck.count(b"/openai/v1/models") > 0
        with pytest.raises(StoreFailed, match="replay only"):
            deck.append(recording())
        deck.close()
        assert [one.name for one in path.parent.iterdir()] == ["api.json"]
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert "ends in the middle of interaction" in deck.said[0]

    def test_a_missing_body_file_is_reported(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/large", b"x" * (2 << 20)))
        (body,) = path.with_name("api.d").iterdir()
        body.write_bytes(b"short")
        with pytest.raises(CassetteError, match=f"{body.name} has 5 bytes, not 2097152"):
            deck.bodies(b"/large")
        body.unlink()
        with pytest.raises(CassetteError, match=f"{body.name}: No such file"):
            deck.bodies(b"/large")
        deck.close()

    def test_a_wrong_answer_is_reported_with_its_number(self, path: Path) -> None:
        """It answers nothing; the others do."""
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        deck.close()
        parts = path.read_bytes().split(b'"status": 200')
        path.write_bytes(b'"status": 200'.join(parts[:2]) + b'"status": "200"' + parts[2])
        deck = Deck(path, access="replay")
        assert [deck.count(target) for target in (b"/0", b"/1")] == [1, 0]
        assert len(deck.said) == 1
        assert "interaction 1 cannot be replayed: Expected `int`, got `str`" in deck.said[0]


class TestMemory:
    def test_decoded_interactions_are_bounded_by_their_bytes(self, path: Path) -> None:
        deck = Deck(path)
        for number in range(70):
            deck.append(recording(b"/%d" % number, b"x" * 1_000_000))
        for number in (*range(70), 0):
            (body,) = deck.bodies(b"/%d" % number)
            assert len(body) == 1_000_000
        assert deck.cassette.recordings.decoded.held_bytes <= 64 << 20
        assert len(deck.cassette.recordings.decoded) > 60
        deck.close()

    def test_recordings_stay_in_the_file(self, path: Path) -> None:
        """Of each there is an index entry in memory; of large ones not more than of small ones."""
        deck = Deck(path)
        deck.append(*[recording(b"/warm%d" % number) for number in range(200)])
        small = grown_by(deck, [recording(b"/%07d" % n, b"x" * 20) for n in range(3000)])
        assert small / 3000 < 614
        large = grown_by(deck, [recording(b"/l%06d" % n, b"x" * 20_000) for n in range(500)])
        assert large / 500 < 614
        assert len(deck.bodies(b"/0000007")) == 1
        deck.close()

    def test_recordings_of_other_processes_stay_in_the_file_too(self, path: Path) -> None:
        Deck(path).append(*[recording(b"/%d" % n, b"x" * 20_000) for n in range(300)])
        tracemalloc.start()
        try:
            deck = Deck(path, access="replay")
            held, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 1_000_000
        assert most < 5_000_000 < path.stat().st_size
        deck.close()

    def test_nothing_in_the_index_concerns_the_collector(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(*[recording(b"/%d" % number) for number in range(100)])
        assert not gc.is_tracked(deck.store.index._places)
        deck.close()


def grown_by(deck: Deck, interactions: list[HTTPInteraction]) -> int:
    """How many bytes are held more when these are recorded, and no longer recent."""
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        while interactions:
            deck.append(interactions.pop())
        deck.cassette._ledger._recent = Recent()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


class TestOpening:
    def test_a_file_that_is_not_a_cassette_stops_the_start(self, path: Path) -> None:
        path.write_text('{"version": 2}')
        with pytest.raises(CassetteError, match=r"api\.json:1:13: version 2 is newer"):
            Deck(path)
        assert path.read_text() == '{"version": 2}'

    def test_a_directory_or_a_pipe_is_not_a_cassette(self, tmp_path: Path) -> None:
        with pytest.raises(CassetteError, match=r"Is a directory|not a regular file"):
            Deck(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CassetteError, match="not a regular file"):
            Deck(tmp_path / "pipe")

    def test_without_a_thread_the_recording_fails(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for it, and the next one is stored."""
        deck = Deck(path)
        with monkeypatch.context() as patched:
            patched.setattr(Thread, "start", _cannot_start)
            with pytest.raises(StoreFailed, match="can't start new thread"):
                deck.append(recording())
        deck.append(recording())
        deck.close()
        assert len(paths(path)) == 1

    def test_without_a_thread_it_can_be_closed(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What could not be written is told to those who wait for it, and nothing waits on."""
        monkeypatch.setattr(Thread, "start", _cannot_start)
        deck = Deck(path)
        results = deck.turns.start(deck.store.append(recording()))
        deck.close()
        (failure,) = results
        assert isinstance(failure, Failure)
        assert failure.check(StoreFailed) is not None

    def test_a_missing_directory_is_found_before_a_recording(self, tmp_path: Path) -> None:
        deck = Deck(tmp_path / "none" / "api.json")
        with pytest.raises(FileNotFoundError):
            deck.cassette.check_writable()
        with pytest.raises(StoreFailed, match="No such file or directory"):
            deck.append(recording())
        deck.close()


class TestFirstAppendToAForeignFile:
    @pytest.mark.parametrize("name", ["go-reverse.json", "go-forward.json"])
    def test_every_element_of_the_go_program_survives(self, path: Path, name: str) -> None:
        before = json.loads((INTEROP / name).read_bytes())["interactions"]
        path.write_bytes((INTEROP / name).read_bytes())
        path.chmod(0o640)
        deck = Deck(path)
        deck.append(recording(b"/new"), recording(b"/newer"))
        deck.close()
        after = interactions(path.read_bytes())
        assert after[:-2] == before
        assert paths(path)[-2:] == ["/new", "/newer"]
        assert mode(path) == 0o640

    def test_a_link_stays_a_link(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        real = tmp_path / "real" / "other.json"
        real.write_text('{"version":1,"interactions":[]}')
        path.symlink_to(real)
        deck = Deck(path)
        deck.append(recording(b"/new", b"x" * (2 << 20)))
        deck.close()
        assert path.is_symlink()
        assert paths(real) == ["/new"]
        assert len(list(real.with_name("other.d").iterdir())) == 1
        assert Deck(real, access="replay").count(b"/new") == 1

    def test_it_is_laid_out_once(self, path: Path) -> None:
        path.write_bytes((INTEROP / "go-forward.json").read_bytes())
        deck = Deck(path)
        deck.append(recording())
        inode = path.stat().st_ino
        deck.append(recording())
        deck.close()
        assert path.stat().st_ino == inode
        again = Deck(path)
        again.append(recording())
        again.close()
        assert path.stat().st_ino == inode

    def test_a_torn_end_is_set_aside_and_reported(self, path: Path) -> None:
        whole = (INTEROP / "go-forward.json").read_bytes()
        path.write_bytes(whole[:-200])
        path.with_name("api.json.torn").write_text("an older one")
        deck = Deck(path)
        assert "ends in the middle of interaction 1" in deck.said[0]
        assert paths(path) == ["/openai/v1/models"]
        deck.append(recording(b"/new"))
        deck.close()
        assert paths(path) == ["/openai/v1/models", "/new"]
        aside = path.with_name("api.json.torn.1").read_bytes()
        assert aside
        assert whole[:-200].endswith(aside)
        assert path.with_name("api.json.torn").read_text() == "an older one"
        assert "its torn end is now in api.json.torn.1" in deck.said[1]


class TestATornEnd:
    """The file is JSON for other readers from the start on."""

    @pytest.mark.parametrize("access", ["append", "anew"])
    def test_a_start_that_may_write_sets_it_aside(self, path: Path, access: StoreAccess) -> None:
        Deck(path).append(recording(b"/0"), recording(b"/1"))
        torn = path.read_bytes()[:-50]
        path.write_bytes(torn)
        deck = Deck(path, access=access)
        assert paths(path) == ["/0"]
        assert torn.endswith(path.with_name("api.json.torn").read_bytes())
        assert "its torn end is now in api.json.torn" in deck.said[1]
        assert deck.count(b"/0") == (1 if access == "append" else 0)
        deck.close()
        assert paths(path) == ["/0"]

    def test_a_running_process_sets_aside_the_torn_end_of_another(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"), recording(b"/1"))
        with path.open("ab") as file:
            file.write(b'      "type": "http",\n      "ht')
        assert deck.count(b"/none") == 0
        assert paths(path) == ["/0", "/1"]
        deck.close()

    def test_a_replay_reads_around_it(self, path: Path) -> None:
        Deck(path).append(recording(b"/0"), recording(b"/1"))
        path.write_bytes(path.read_bytes()[:-50])
        torn = path.read_bytes()
        assert Deck(path, access="replay").count(b"/0") == 1
        assert path.read_bytes() == torn

    def test_one_that_is_still_being_saved_is_waited_for(self, path: Path) -> None:
        """An editor saves it at the very moment of the start: its text is not touched."""
        Deck(path).append(recording(b"/0"), recording(b"/1"))
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
        deck = Deck(path)
        saving.join()
        assert deck.said == []
        assert deck.count(b"/1") == 1
        assert path.read_bytes() == text
        deck.close()


class TestBeginningAnew:
    def test_the_old_file_is_moved_aside_by_the_first_recording(self, path: Path) -> None:
        old = (INTEROP / "go-reverse.json").read_bytes()
        path.write_bytes(old)
        path.with_name("api.json.bak").write_text("older")
        deck = Deck(path, access="anew")
        assert deck.count(b"/openai/v1/models") == 0
        assert path.read_bytes() == old
        deck.append(recording(b"/new"), recording(b"/newer"))
        assert deck.count(b"/new") == 1
        deck.close()
        assert path.with_name("api.json.bak.1").read_bytes() == old
        assert path.with_name("api.json.bak").read_text() == "older"
        assert paths(path) == ["/new", "/newer"]
        assert "the old file is now api.json.bak.1" in deck.said[0]

    def test_without_a_recording_nothing_moves(self, path: Path) -> None:
        path.write_text("no cassette at all")
        Deck(path, access="anew").close()
        assert path.read_text() == "no cassette at all"

    def test_two_that_record_again_share_the_new_file(self, path: Path) -> None:
        Deck(path).append(recording(b"/old"))
        one, other = Deck(path, access="anew"), Deck(path, access="anew")
        one.append(recording(b"/1"))
        other.append(recording(b"/2"))
        one.append(recording(b"/3"))
        assert paths(path) == ["/1", "/2", "/3"]
        assert paths(path.with_name("api.json.bak")) == ["/old"]


class TestViews:
    def test_each_view_has_its_own_keys_over_one_file(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/a?x=1"))
        late = deck.cassette.view(lambda entry: key_of(IndexEntry(without_query(entry.request))))
        assert deck.turns.run(late.find([key(b"/a")])) is not None
        deck.append(recording(b"/a?x=2"))
        found = deck.turns.run(late.find([key(b"/a")]))
        assert found is not None
        assert list(found.places) == [0, 1]
        assert (deck.count(b"/a"), deck.count(b"/a?x=2")) == (0, 1)
        deck.close()
        deck.turns.run(late.close())

    def test_keys_of_long_bodies_are_made_on_its_thread(self, path: Path) -> None:
        """The reactor is not kept while a body full of credentials is searched."""
        deck = Deck(path)
        on_reactor: list[int] = []

        def noting(entry: IndexEntry) -> RecordedKey:
            if get_ident() == main_thread().ident:
                on_reactor.append(entry.request.body.size_bytes)
            return key_of(entry)

        view = deck.cassette.view(noting)
        assert deck.turns.run(view.find([key(b"/nothing")])) is None
        for target, size_bytes in ((b"/short", 100), (b"/long", 20_000)):
            one = recording(target)
            body = Body.of(b"x" * size_bytes)
            deck.append(evolve(one, request=evolve(one.request, body=body)))
            assert deck.turns.run(view.find([key(target)])) is not None
        assert on_reactor == [100]
        deck.close()
        deck.turns.run(view.close())

    def test_redaction_knows_the_salt_of_the_file(self, path: Path) -> None:
        deck = Deck(path)
        deck.append(recording(b"/0"))
        deck.close()
        salt = json.loads(path.read_bytes())["salt"].encode()
        salts: list[bytes] = []

        def redact_with(given: bytes) -> Redaction:
            salts.append(given)
            return lambda one: evolve(one, request=evolve(one.request, target=b"/redacted"))

        cassette = Cassette(
            path, redact=redact_with, call_from_thread=deck.turns.call, turn=deck.turn,
            warn=deck.said.append,
        )  # fmt: skip
        store = cassette.view(key_of)
        cassette.open()
        deck.turns.run(store.append(recording(b"/secret")))
        assert deck.turns.run(store.find([key(b"/redacted")])) is not None
        deck.turns.run(store.close())
        assert set(salts) == {salt}
        assert paths(path) == ["/0", "/redacted"]


def without_query(request: RecordedRequest) -> RecordedRequest:
    return evolve(request, target=request.target.partition(b"?")[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _cannot_start(_: Thread) -> None:
    raise RuntimeError("can't start new thread")
