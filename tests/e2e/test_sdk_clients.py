"""Real clients record through buffr, and get the same when the upstream is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from api_upstream import LARGE, SECRETS, APIUpstream
from attrs import define, field, frozen
from bench import interactions
from sdk_calls import CALLS, Seen

from buffr.testing import BuffrProcess, FakeUpstream


@define
class _Takes:
    """What one call saw, or failed with, in each phase."""

    seen: list[Seen | Exception] = field(factory=list)
    contacts: list[int] = field(factory=list)

    def take(self, phase: int) -> Seen:
        result = self.seen[phase]
        if isinstance(result, Exception):
            raise result
        return result


LIVE, AGAIN, REPLAYED = range(3)


@frozen
class Story:
    """All calls made three times: recorded, made again in the same run, and replayed.

    ``directory`` holds what is left on the disk, ``log`` what both processes wrote.
    """

    takes: dict[str, _Takes]
    directory: Path
    log: str
    contacts_in_replay: int


def _make_all(takes: dict[str, _Takes], url: str, upstream: FakeUpstream) -> None:
    for name, call in CALLS.items():
        before = len(upstream.received)
        try:
            takes[name].seen.append(call(url))
        except Exception as error:  # noqa: BLE001  # the test of this call raises it
            takes[name].seen.append(error)
        takes[name].contacts.append(len(upstream.received) - before)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    directory = tmp_path_factory.mktemp("sdk")
    takes = {name: _Takes() for name in CALLS}
    with FakeUpstream(APIUpstream()) as upstream:
        flags = ("--target", upstream.url, "--port", "0", "--cassette", "api.json")
        with BuffrProcess.run("auto", *flags, cwd=directory) as recording:
            _make_all(takes, recording.url, upstream)
            _make_all(takes, recording.url, upstream)
    # Somebody else listens there now, to see whether a replay calls.
    with (
        FakeUpstream(APIUpstream(), port=upstream.port) as nobody,
        BuffrProcess.run("replay", *flags, cwd=directory) as replaying,
    ):
        _make_all(takes, replaying.url, nobody)
        contacts = nobody.connections
    return Story(takes, directory, recording.log() + replaying.log(), contacts)


def without_cookie_values(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [
        (name, "; ".join(part.partition("=")[0] for part in value.split("; ")))
        if name == "set-cookie"
        else (name, value)
        for name, value in headers
    ]


@pytest.mark.parametrize("name", CALLS)
class TestEachCall:
    def test_it_is_recorded_and_replayed_the_same(self, story: Story, name: str) -> None:
        """Same status, same fields in the same order but for redacted values, same bytes."""
        live = story.takes[name].take(LIVE)
        assert live.status == 200
        for phase in (AGAIN, REPLAYED):
            replayed = story.takes[name].take(phase)
            assert replayed.status == live.status
            assert replayed.body == live.body
            assert without_cookie_values(replayed.headers) == without_cookie_values(live.headers)

    def test_only_the_first_one_reaches_the_upstream(self, story: Story, name: str) -> None:
        """The second one in the same run replays already."""
        assert story.takes[name].contacts == [1, 0, 0]


class TestTheWhole:
    def test_a_replay_contacts_nobody(self, story: Story) -> None:
        assert story.contacts_in_replay == 0

    def test_every_call_is_one_whole_recording(self, story: Story) -> None:
        """The streamed chats too, whose client leaves before the last chunk."""
        kept = interactions(story.directory / "api.json")
        assert len(kept) == len(CALLS)
        assert all("end" not in one["http"] for one in kept)

    def test_five_megabytes_come_whole(self, story: Story) -> None:
        for name in ("openai speech", "curl large"):
            assert story.takes[name].take(REPLAYED).body.startswith(LARGE)

    def test_redacted_values_are_legal_and_keep_their_form(self, story: Story) -> None:
        cookies = [
            value
            for name, value in story.takes["curl gzip"].take(REPLAYED).headers
            if name == "set-cookie"
        ]
        assert re.fullmatch(r"__cf_bm=REDACTED-[a-z0-9-]+; path=/; HttpOnly", cookies[0])
        assert re.fullmatch(r"lang=REDACTED-[a-z-]+; Max-Age=60", cookies[1])

    def test_no_secret_is_left_on_the_disk_or_in_the_log(self, story: Story) -> None:
        """Seed defect 6. Every byte of every file: cassette, bodies, and whatever else."""
        files = [path for path in story.directory.rglob("*") if path.is_file()]
        assert len(files) > 2
        for secret in SECRETS.values():
            assert secret not in story.log
            for path in files:
                assert secret.encode() not in path.read_bytes(), path.name

    def test_what_is_left_is_for_its_owner_only(self, story: Story) -> None:
        """Seed defect 6: cassettes were 0644."""
        for path in story.directory.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path.name
