"""Interactions are taken out of a cassette that a buffr has open, and records into."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Thread

import pytest
from calls import age, call, elements, targets

sys.path.insert(0, str(Path(__file__).parents[2] / "stores"))

from cassettes import Deck
from recordings import recording

from buffr.stores.cassette.body_files import INLINE_BYTES
from buffr.stores.cassette.removal import take_out

LARGE = os.urandom(INLINE_BYTES + 1)


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    deck = Deck(tmp_path / "api.json")
    deck.append(*[recording(b"/%d" % number) for number in range(4)])
    return deck


def test_it_sees_what_is_gone_and_goes_on(deck: Deck, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "rm", deck.path, "1").code == 0
    assert [deck.count(b"/%d" % number) for number in range(4)] == [1, 0, 1, 1]
    deck.append(recording(b"/new"))
    assert targets(deck.path) == ["/0", "/2", "/3", "/new"]


def test_the_last_recording_stays_gone(deck: Deck) -> None:
    """A file without its last recordings looks like one that an editor wrote back."""
    take_out(deck.path, lambda _: [3], print)
    deck.append(recording(b"/new"))
    assert targets(deck.path) == ["/0", "/1", "/2", "/new"]


def test_what_is_recorded_meanwhile_waits_and_is_kept(deck: Deck) -> None:
    recorder = Thread(target=deck.append, args=(recording(b"/meanwhile"),))

    def choose(_: object) -> list[int]:
        recorder.start()
        recorder.join(0.1)
        assert recorder.is_alive()
        return [0]

    take_out(deck.path, choose, print)
    recorder.join()
    assert targets(deck.path) == ["/1", "/2", "/3", "/meanwhile"]


def test_a_body_file_that_is_about_to_be_named_again_is_written_again(deck: Deck) -> None:
    """Its recorder saw it there before it waited for the lock."""
    deck.append(recording(b"/large", LARGE))
    age(deck.path)
    recorder = Thread(target=deck.append, args=(recording(b"/again", LARGE),))

    def choose(_: object) -> list[int]:
        recorder.start()
        recorder.join(0.1)
        return [4]

    removed = take_out(deck.path, choose, print)
    assert len(removed.body_files) == 1
    recorder.join()
    (element,) = (one for one in elements(deck.path) if one["http"]["request"]["path"] == "/again")
    name = element["http"]["response"]["body_file"]
    assert deck.path.with_suffix(".d").joinpath(name).read_bytes() == LARGE


def test_it_redacts_while_a_buffr_records(deck: Deck, capsys: pytest.CaptureFixture[str]) -> None:
    secret = b"q7XbP2mZ9sKd4LwT8vRc"
    deck.append(recording(b"/secret?n=1", b'{"client_secret": "%b"}' % secret))
    recorder = Thread(target=deck.append, args=(recording(b"/meanwhile"),))
    opened = deck.path.stat().st_ino
    recorder.start()
    assert call(capsys, "redact", deck.path).code == 0
    recorder.join()
    assert deck.path.stat().st_ino != opened
    assert secret not in deck.path.read_bytes()
    assert [deck.count(target) for target in (b"/0", b"/3", b"/meanwhile")] == [1, 1, 1]
    deck.append(recording(b"/new"))
    assert targets(deck.path)[-1] == "/new"
    assert secret not in deck.path.read_bytes()
