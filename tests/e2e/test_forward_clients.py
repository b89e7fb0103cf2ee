"""Real clients record through the forward proxy, and get the same when the origins are gone.

Nothing is changed in a client: it finds the proxy and the CA in its environment.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen
from commands import BUFFR
from forward_bench import forward_proxy, secure_origin
from forward_clients import CLIENTS, HOST, Around, OriginOfAll, settings_files, variables

from buffr.testing import FakeUpstream

LIVE, REPLAYED = range(2)


@frozen
class Story:
    """What each client that is here saw, or failed with: recording, and replayed."""

    takes: tuple[dict[str, bytes | Exception], dict[str, bytes | Exception]]
    contacts_in_replay: int
    log: str
    cassettes: tuple[str, ...]

    def take(self, phase: int, name: str) -> bytes:
        result = self.takes[phase][name]
        if isinstance(result, Exception):
            raise result
        return result


def _ca_files(directory: Path) -> None:
    """What a user makes with ``buffr ca`` before the first start."""
    for form, name in (("pem", "ca.pem"), ("bundle", "bundle.pem"), ("p12", "ca.p12")):
        with (directory / name).open("wb") as file:
            subprocess.run(
                [*BUFFR, "ca", "--format", form],
                cwd=directory,
                stdout=file,
                check=True,
                stderr=subprocess.DEVNULL,
            )
    settings_files(directory)


def _run_all(directory: Path, proxy_port: int, port: int) -> dict[str, bytes | Exception]:
    def take(name: str) -> bytes | Exception:
        own = directory / "own" / str(proxy_port) / name.replace(" ", "-")
        own.mkdir(parents=True)
        around = Around(port, directory, own, variables(proxy_port, directory, own))
        try:
            return CLIENTS[name].run(around)
        except Exception as error:  # noqa: BLE001  # the test of this client raises it
            return error

    here = [name for name, client in CLIENTS.items() if not client.missing()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as threads:
        return dict(zip(here, threads.map(take, here), strict=True))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    directory = tmp_path_factory.mktemp("clients")
    _ca_files(directory)
    row = {
        "host": f"*.{HOST}",
        "resolve": "127.0.0.1",
        "cassette": "all.json",
        "ca_file": str(directory / "origins.pem"),
    }
    names = (f"*.{HOST}",)
    script = OriginOfAll(directory)
    with (
        secure_origin(script, *names) as origin,
        forward_proxy(directory, {"hosts": [row]}) as recording,
    ):
        live = _run_all(directory, recording.port, origin.port)
    with (
        FakeUpstream(script, port=origin.port) as nobody,
        forward_proxy(directory, {"mode": "replay", "hosts": [row]}) as replaying,
    ):
        replayed = _run_all(directory, replaying.port, origin.port)
        contacts = nobody.connections
    log = recording.process.log() + replaying.process.log()
    return Story((live, replayed), contacts, log, tuple(replaying.files()))


@pytest.mark.parametrize("name", CLIENTS)
class TestEachClient:
    def test_it_records_with_nothing_but_its_environment_changed(
        self, story: Story, name: str
    ) -> None:
        reason = CLIENTS[name].missing()
        if reason:
            pytest.skip(reason)
        assert CLIENTS[name].mark in story.take(LIVE, name)

    def test_it_sees_the_same_bytes_when_the_origin_is_gone(self, story: Story, name: str) -> None:
        reason = CLIENTS[name].missing()
        if reason:
            pytest.skip(reason)
        assert story.take(REPLAYED, name) == story.take(LIVE, name)


class TestTheWhole:
    def test_a_replay_contacts_nobody(self, story: Story) -> None:
        assert story.contacts_in_replay == 0

    def test_all_hosts_are_in_the_one_cassette_that_their_row_names(self, story: Story) -> None:
        assert story.cassettes == ("all.json",)

    def test_nothing_went_wrong_behind_the_scenes(self, story: Story) -> None:
        for bad in ("Traceback", "defect", "level=ERROR", "src=miss"):
            assert bad not in story.log
