"""What a client was answered is in the cassette, whatever happens to the process, disk or file."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import define, field
from bench import eventually, interactions
from commands import complaint
from kills import MANY_KILLS
from raw_http import BrokenAnswer, RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer


def body_for(target: bytes) -> bytes:
    """Bytes that only this target has, of the size that it names: ``/<size>/<name>``."""
    size = int(target.split(b"/")[1])
    pattern = hashlib.sha256(target).hexdigest().encode()
    return (pattern * (size // len(pattern) + 1))[:size]


def sized(received: Received) -> bytes:
    return answer(body_for(received.target))


def flags(upstream: FakeUpstream, cassette: str = "api.json") -> tuple[str, ...]:
    return ("--target", upstream.url, "--port", "0", "--cassette", cassette)


def flags_of_sqlite(upstream: FakeUpstream) -> tuple[str, ...]:
    return ("--target", upstream.url, "--port", "0", "--store", "sqlite:api.db")


@define
class Recorder:
    """Makes requests that nobody made before until it is stopped, each answered in full or broken.

    ``answered`` has the targets of whole answers with the time when the
    request went out.
    """

    port: int
    name: str
    sizes: tuple[int, ...] = (100,)
    answered: list[tuple[bytes, float]] = field(factory=list)
    wrong: list[bytes] = field(factory=list)
    _stopping: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> Recorder:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def _work(self) -> None:
        with suppress(OSError, BrokenAnswer), RawClient(self.port) as client:
            number = 0
            while not self._stopping.is_set():
                size = self.sizes[number % len(self.sizes)]
                target = b"/%d/%b-%d" % (size, self.name.encode(), number)
                number += 1
                started = time.monotonic()
                client.send(request(target))
                got = client.answer()
                if got.status != 200 or got.body != body_for(target):
                    self.wrong.append(target)
                self.answered.append((target, started))

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(120)

    def wait_for(self, count: int) -> None:
        """Return when so many more are answered."""
        goal = len(self.answered) + count
        eventually(lambda: len(self.answered) >= goal)


@contextmanager
def recording(port: int, name: str, sizes: tuple[int, ...] = (100,)) -> Iterator[Recorder]:
    recorder = Recorder(port, name, sizes).start()
    try:
        yield recorder
    finally:
        recorder.stop()
        assert not recorder.wrong


def paths_in(cassette: Path) -> set[bytes]:
    return {one["http"]["request"]["path"].encode() for one in interactions(cassette)}


class TestKilled:
    """Seed defect 5: killed in the middle of an append, the whole file was empty."""

    SIZES = (40, 1_000, 200_000, 20, 1_500_000, 3_000)

    def kill_and_check(self, directory: Path, rounds: int, *, sqlite: bool = False) -> None:
        """Each process is killed at a random moment; the next one must know all that it answered.

        Answers held back until they are recorded are the point: one that came
        whole may not be lost. The file is JSON as soon as the next one listens,
        before it records anything.
        """
        cassette = directory / "api.json"
        chance = random.Random()
        known: list[bytes] = []
        total = 0
        with FakeUpstream(sized) as upstream:
            named = flags_of_sqlite(upstream) if sqlite else flags(upstream)
            for number in range(rounds + 1):
                with BuffrProcess.run("auto", *named, cwd=directory) as running:
                    port = running.ports[0]
                    if known and not sqlite:
                        assert set(known) <= paths_in(cassette)
                    asked = len(upstream.received)
                    with RawClient(port) as client:
                        for target in known:
                            client.send(request(target))
                            assert client.answer().body == body_for(target), target
                    assert len(upstream.received) == asked, "a recording was lost"
                    if number == rounds:
                        break
                    recorders = [
                        Recorder(port, f"{number}-{each}", self.SIZES[each:]).start()
                        for each in range(3)
                    ]
                    recorders[0].wait_for(chance.randrange(2, 12))
                    # The moment is to be a random one, within an append too.
                    time.sleep(chance.random() * 0.01)
                    running.stop(signal.SIGKILL)
                    for recorder in recorders:
                        recorder.stop()
                        assert not recorder.wrong
                known = [target for recorder in recorders for target, _ in recorder.answered]
                total += len(known)
        assert sqlite or set(known) <= paths_in(cassette)
        assert total > rounds

    def test_no_recording_is_lost_whose_answer_was_whole(self, tmp_path: Path) -> None:
        self.kill_and_check(tmp_path, 10)

    def test_nor_is_one_in_sqlite(self, tmp_path: Path) -> None:
        self.kill_and_check(tmp_path, 4, sqlite=True)

    @pytest.mark.slow
    def test_no_recording_is_lost_in_many_kills(self, tmp_path: Path) -> None:
        self.kill_and_check(tmp_path, MANY_KILLS)

    @pytest.mark.slow
    def test_nor_is_one_in_sqlite_in_many_kills(self, tmp_path: Path) -> None:
        self.kill_and_check(tmp_path, MANY_KILLS, sqlite=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


class TestFullDisk:
    """Seed defect 5: clients got 200, and the JSON was broken."""

    def test_it_breaks_no_answer_and_leaves_the_cassette_valid(self, small_disk: Path) -> None:
        """What fits stays; what does not is an error in the log; with room again it goes on."""
        with FakeUpstream(sized) as upstream:
            with BuffrProcess.run("auto", *flags(upstream), cwd=small_disk) as running:
                targets = [b"/%d/%d" % (size, n) for n in range(30) for size in (900, 150_000)]
                with RawClient(running.ports[0]) as client:
                    for target in targets:
                        client.send(request(target))
                        assert client.answer().body == body_for(target)
                    before = paths_in(small_disk / "api.json")
                    assert {b"/900/0", b"/150000/0"} <= before < set(targets)
                    line = running.wait_for("recording lost").string
                    assert " level=ERROR " in line
                    assert "No space left" in line
                    # Larger than what the disk ever had: spooled, as far as there is room.
                    client.send(request(b"/4000000/large"))
                    assert client.answer().body == body_for(b"/4000000/large")
                text = (small_disk / "api.json").read_bytes()
                assert len(text) > 1_000_000
                lost = sorted(set(targets) - before)
                (small_disk / "api.json").unlink()
                assert ask(running.ports[0], request(lost[0])).body == body_for(lost[0])
                assert lost[0] in paths_in(small_disk / "api.json")
            assert "Traceback" not in running.log()

    def test_a_lost_recording_of_a_cache_names_its_url(self, small_disk: Path) -> None:
        """SQLite says no more than that the disk is full."""
        body = random.Random(7).randbytes(150_000)  # nothing that could be compressed
        with FakeUpstream(lambda _: answer(body)) as upstream:
            command = ("cache", "--target", upstream.url, "--port", "0", "--store", "sqlite:c.db")
            with BuffrProcess.run(*command, "--ttl", "1h", cwd=small_disk) as running:
                for number in range(20):
                    assert ask(running.ports[0], request(b"/%d" % number)).body == body
                line = running.wait_for("recording lost").string
                assert re.search(r'recording lost" request="GET /\d+" err="cache c', line)
                assert "full" in line
            assert "Traceback" not in running.log()

    def test_what_was_recorded_replays(self, small_disk: Path) -> None:
        """The cassette that a full disk left is one like any other."""
        with FakeUpstream(sized) as upstream:
            with BuffrProcess.run("auto", *flags(upstream), cwd=small_disk) as running:
                for number in range(25):
                    ask(running.ports[0], request(b"/100000/%d" % number))
                running.wait_for("recording lost")
            kept = paths_in(small_disk / "api.json")
            asked = len(upstream.received)
            with BuffrProcess.run("auto", *flags(upstream), cwd=small_disk) as running:
                for target in kept:
                    assert ask(running.ports[0], request(target)).body == body_for(target)
            assert len(upstream.received) == asked


def no_more_descriptors(pid: int) -> None:
    """A process gets the lowest number that is free, so this one gets none."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = next(number for number in range(len(taken) + 1) if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, lowest))


class TestNoDescriptors:
    def test_a_lost_recording_names_its_url_and_breaks_no_answer(self, tmp_path: Path) -> None:
        """A large body is spooled to a file, and there can be none."""
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as running,
            RawClient(running.ports[0]) as client,
        ):
            for target in (b"/10/first", b"/3000000/second"):
                client.send(request(target))
                assert client.answer().body == body_for(target)
                # Both connections go on; nothing else is needed but the file.
                no_more_descriptors(running.process.pid)
            line = running.wait_for("recording lost").string
            assert "GET /3000000/second" in line
            assert "Too many open files" in line
            assert "Traceback" not in running.log()


class TestUnwritable:
    """Seed defect 20: nobody noticed; clients got 200, and nothing was recorded."""

    def test_it_is_said_at_the_start(self, tmp_path: Path) -> None:
        """Which is refused, unless recordings may be lost; ``test_unrecorded`` has all of it."""
        cassette = "/proc/self/api.json"
        with FakeUpstream(sized) as upstream:
            (line,) = complaint("auto", *flags(upstream, cassette), cwd=tmp_path)
            assert "cannot be written" in line
            allowed = ("--allow-unrecorded", *flags(upstream, cassette))
            with BuffrProcess.run("auto", *allowed, cwd=tmp_path) as running:
                assert "cannot be written" in running.log()
                assert ask(running.ports[0], request(b"/10/x")).status == 200

    def test_each_loss_is_said_where_it_comes_later(self, tmp_path: Path) -> None:
        """The client has its answer all the same."""
        directory = tmp_path / "new"
        cassette = str(directory / "api.json")
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream, cassette), cwd=tmp_path) as running,
        ):
            directory.rmdir()
            assert ask(running.ports[0], request(b"/10/x")).status == 200
            line = running.wait_for("recording lost").string
            assert " level=ERROR " in line
            assert "/10/x" in line

    def test_a_directory_that_is_only_missing_is_made(self, tmp_path: Path) -> None:
        """``--cassette tests/cassettes/api.json`` in a new project."""
        with FakeUpstream(sized) as upstream:
            cassette = "new/directory/api.json"
            with BuffrProcess.run("auto", *flags(upstream, cassette), cwd=tmp_path) as running:
                assert ask(running.ports[0], request(b"/10/x")).status == 200
        assert paths_in(tmp_path / cassette) == {b"/10/x"}


class TestMissingBodies:
    def test_a_body_file_that_is_gone_is_an_error_with_its_name(self, tmp_path: Path) -> None:
        """Never an empty answer, or half of one; other recordings replay on."""
        targets = (b"/2000000/large", b"/10/small")
        with FakeUpstream(sized) as upstream:
            with BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as running:
                for target in targets:
                    assert ask(running.ports[0], request(target)).status == 200
            (body,) = (tmp_path / "api.d").iterdir()
            body.unlink()
            with BuffrProcess.run("replay", *flags(upstream), cwd=tmp_path) as running:
                got = ask(running.ports[0], request(targets[0]))
                assert got.status == 500
                assert body.name in got.body.decode()
                assert " level=ERROR " in running.wait_for(body.name).string
                assert ask(running.ports[0], request(targets[1])).status == 200


class TestTheNextRequest:
    """What is done to a cassette counts from the next request on, however soon it comes."""

    def test_edited_trimmed_and_removed_in_replay(self, tmp_path: Path) -> None:
        cassette = tmp_path / "api.json"
        value = {"version": 1, "interactions": [element(name) for name in ("one", "two", "six")]}
        cassette.write_text(json.dumps(value, indent=2))
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("replay", *flags(upstream), cwd=tmp_path) as running,
            RawClient(running.ports[0]) as client,
        ):

            def got(name: str) -> tuple[int, bytes]:
                client.send(request(f"/3/{name}".encode()))
                answered = client.answer()
                return answered.status, answered.body

            for number in range(20):
                edited = element("one")
                edited["http"]["response"]["body"] = f"{number:03}"
                value["interactions"] = [edited, element("two"), element("six")]
                cassette.write_text(json.dumps(value, indent=2))
                assert got("one") == (200, b"%03d" % number)
            rm = [sys.executable, "-m", "buffr", "cassette", "rm", str(cassette), "1"]
            subprocess.run(rm, check=True, capture_output=True)
            assert [got(name)[0] for name in ("one", "two", "six")] == [200, 599, 200]
            cassette.unlink()
            status, body = got("one")
            assert status == 599
            assert b"api.json does not exist any more" in body
            cassette.write_text(json.dumps(value))
            assert got("two")[0] == 200
        assert "Traceback" not in running.log()

    def test_removed_in_auto(self, tmp_path: Path) -> None:
        """The next request goes to the upstream, and begins a new file."""
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as running,
        ):
            for number in range(1, 4):
                assert ask(running.ports[0], request(b"/10/x")).status == 200
                assert len(upstream.received) == number
                assert paths_in(tmp_path / "api.json") == {b"/10/x"}
                (tmp_path / "api.json").unlink()


class TestMemory:
    """A session may be of any length: its text stays in the file."""

    def test_a_recording_process_keeps_an_index_of_what_it_records(self, tmp_path: Path) -> None:
        """Measured: 0.3 KiB a recording; the text of the file was 8 KiB of memory each."""
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as running,
            RawClient(running.ports[0]) as client,
        ):

            def record(count: int, name: bytes) -> None:
                for number in range(count):
                    client.send(request(b"/5000/%b%05d" % (name, number)))
                    assert client.answer().status == 200
                upstream.received.clear()

            record(1500, b"warm")
            before = resident_bytes(running)
            record(4000, b"then")
            taken = resident_bytes(running) - before
        assert taken / 4000 < 2500


def resident_bytes(running: BuffrProcess) -> int:
    """The memory of a process that is not a file's."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class TestBrokenRecordings:
    def test_one_is_named_by_its_miss_and_the_others_replay(self, tmp_path: Path) -> None:
        """Neither garbage nor an error of the proxy: the recording does not count."""
        cassette = tmp_path / "api.json"
        recordings = [element(name) for name in ("good", "wrong", "split")]
        recordings[1]["http"]["response"]["status"] = 99
        recordings[2]["http"]["response"]["headers"] = {"X": ["a\r\nSet-Cookie: b=c"]}
        cassette.write_text(json.dumps({"version": 1, "interactions": recordings}, indent=2))
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("replay", *flags(upstream), cwd=tmp_path) as running,
        ):
            port = running.ports[0]
            assert ask(port, request(b"/4/good")).status == 200
            for target, why in (
                (b"/5/wrong", "$.http.response.status"),
                (b"/5/split", "a line end"),
            ):
                got = ask(port, request(target))
                assert got.status == 599
                if target == b"/5/split":
                    assert "interaction 2 is the same request, but" in got.body.decode()
                    assert why in got.body.decode()
                assert why in running.log()
            assert "Traceback" not in running.log()
            assert " level=WARN " in running.wait_for("interaction 1 cannot be replayed").string


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True, capture_output=True)


def element(path: str) -> dict[str, Any]:
    size = len(path)
    body = body_for(b"/%d/%b" % (size, path.encode())).decode()
    return {
        "type": "http",
        "http": {
            "request": {"method": "GET", "path": f"/{size}/{path}"},
            "response": {"status": 200, "headers": {}, "body": body},
        },
    }


Disturb = Callable[[Path, dict[str, Any], int], None]


def checkout(cassette: Path, _: dict[str, Any], number: int) -> None:
    """Git replaces the file by that of a branch."""
    git(cassette.parent, "checkout", "-f", f"branch-{number}")


def save_in_place(cassette: Path, content: dict[str, Any], number: int) -> None:
    """An editor truncates the file and writes it again, not all at once."""
    content["interactions"].append(element(f"edited-{number}"))
    text = json.dumps(content, indent=2).encode()
    with cassette.open("wb", buffering=0) as file:
        for start in range(0, len(text), len(text) // 3 + 1):
            file.write(text[start : start + len(text) // 3 + 1])
            time.sleep(0.03)  # a slow editor, on purpose


def reformat(cassette: Path, content: dict[str, Any], number: int) -> None:
    """As prettier would: another indentation, short lists on one line, no line at the end."""
    content["interactions"].append(element(f"edited-{number}"))
    cassette.write_text(json.dumps(content, indent=4, ensure_ascii=False).rstrip())


def save_by_rename(cassette: Path, content: dict[str, Any], number: int) -> None:
    """An editor that writes a new file and renames it."""
    content["interactions"].append(element(f"edited-{number}"))
    new = cassette.with_name("new")
    new.write_text(json.dumps(content, indent="\t") + "\r\n")
    new.rename(cassette)


class TestDisturbed:
    """While buffr appends, others change the file. Neither's part is lost."""

    @pytest.mark.parametrize("disturb", [checkout, save_in_place, reformat, save_by_rename])
    def test_neither_what_others_wrote_nor_what_came_after_is_lost(
        self, tmp_path: Path, disturb: Disturb
    ) -> None:
        """What a person puts in the file's place replaces what was there: that is theirs to say."""
        cassette = tmp_path / "api.json"
        git(tmp_path, "init")
        for number in range(3):
            text = {"version": 1, "interactions": [element(f"edited-{number}")]}
            cassette.write_text(json.dumps(text))
            git(tmp_path, "add", "api.json")
            git(tmp_path, "commit", "-m", "x")
            git(tmp_path, "branch", f"branch-{number}")
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as running,
        ):
            port = running.ports[0]
            with recording(port, "a", (100, 30_000)) as one, recording(port, "b") as other:
                for number in range(3):
                    one.wait_for(5)
                    # Others read without a lock, and try again when they read in between.
                    disturb(cassette, eventually(lambda: whole(cassette)), number)
                    done = time.monotonic()
                other.wait_for(10)
            kept = paths_in(cassette)
            assert b"/8/edited-2" in kept
            late = {
                target for each in (one, other) for target, start in each.answered if start > done
            }
            assert late
            assert late <= kept
            asked = len(upstream.received)
            for target in [b"/8/edited-2", *late]:
                assert ask(port, request(target)).body == body_for(target)
            assert len(upstream.received) == asked
        assert "Traceback" not in running.log()
        assert "recording lost" not in running.log()


def whole(cassette: Path) -> dict[str, Any]:
    """What the file holds, or nothing when that is not valid at the moment."""
    try:
        found: dict[str, Any] = json.loads(cassette.read_bytes())
    except ValueError:
        return {}
    return found


class TestSeveralWriters:
    """Seed defect 4: of two writers the last one won; 20 recorded, 10 kept."""

    def test_two_processes_share_a_cassette(self, tmp_path: Path) -> None:
        """Nothing is lost, and each replays what the other recorded."""
        with (
            FakeUpstream(sized) as upstream,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as first,
            BuffrProcess.run("auto", *flags(upstream), cwd=tmp_path) as second,
        ):
            ports = (first.ports[0], second.ports[0])
            recorders = [
                Recorder(port, f"{port}-{each}", (100, 20_000)).start()
                for port in ports
                for each in range(2)
            ]
            for recorder in recorders:
                recorder.wait_for(25)
            for recorder in recorders:
                recorder.stop()
                assert not recorder.wrong
            answered = [target for recorder in recorders for target, _ in recorder.answered]
            kept = [one["http"]["request"]["path"] for one in interactions(tmp_path / "api.json")]
            assert sorted(kept) == sorted(target.decode() for target in answered)
            asked = len(upstream.received)
            for port in ports:
                with RawClient(port) as client:
                    for target in answered:
                        client.send(request(target))
                        assert client.answer().body == body_for(target)
            assert len(upstream.received) == asked

    def test_two_routes_share_a_cassette(self, tmp_path: Path) -> None:
        """In one process, as hosts with one file did; a symbolic link is the same file."""
        (tmp_path / "link.json").symlink_to("api.json")
        with FakeUpstream(sized) as upstream:
            rows = [
                {"target": upstream.url, "port": 0, "cassette": name}
                for name in ("api.json", "./api.json", "link.json")
            ]
            (tmp_path / "buffr.yaml").write_text(yaml.safe_dump({"reverse": rows}))
            with BuffrProcess.run("serve", cwd=tmp_path, listeners=3) as running:
                recorders = [Recorder(port, str(port)).start() for port in running.ports]
                for recorder in recorders:
                    recorder.wait_for(20)
                for recorder in recorders:
                    recorder.stop()
            answered = {target for recorder in recorders for target, _ in recorder.answered}
            assert paths_in(tmp_path / "api.json") == answered
            assert (tmp_path / "link.json").is_symlink()
