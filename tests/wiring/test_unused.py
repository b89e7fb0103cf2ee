"""Which recordings a run had no use for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from buffr.exchanges.explain import Explainer
from buffr.exchanges.fitting import filed
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.exchanges.route import Recorded
from buffr.interaction import IndexEntry
from buffr.matching.key import recording_name
from buffr.matching.matcher import Matcher
from buffr.matching.rules import MatchRules
from buffr.policy.mode import Mode
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Matches
from buffr.stores.cassette.recordings import Recordings
from buffr.stores.cassette.store import Cassette, CassetteStore
from buffr.transport.turn import Turn
from buffr.wiring.unused import unused

RULES = RedactionRules()


def now(function: Callable[..., object], *arguments: Any) -> None:
    function(*arguments)


def cassette(directory: Path, *paths: str, **changed: Any) -> Cassette:
    """A cassette with a GET of each of these paths."""
    path = directory / "api.json"
    request = {"method": "GET", "scheme": "https", "host": "api.test", "port": 443, **changed}
    request = {name: value for name, value in request.items() if value is not None}
    parts = [dict(zip(("path", "query"), one.split("?"), strict=False)) for one in paths]
    requests = [{**request, **one} for one in parts]
    http = [{"request": one, "response": {"status": 200}} for one in requests]
    interactions = [{"type": "http", "http": one} for one in http]
    path.write_text(json.dumps({"version": 1, "interactions": interactions}))
    return Cassette(
        path,
        redact=lambda _: lambda interaction: interaction,
        call_from_thread=now,
        turn=Turn(Clock()),
        warn=print,
        access="replay",
    )


def route(over: Cassette, mode: Mode = Mode.REPLAY, **rules: Any) -> Recorded:
    matcher = Matcher(MatchRules(redaction=RULES, **rules), with_origin=True)
    store = over.view(matcher.recorded_key)
    return Recorded(
        mode=mode,
        upstream=None,
        store=store,
        matcher=matcher,
        bodies=RouteBodies(LongBodies(), matcher, store),
        playhead=Playhead(Repeat.CYCLE),
        explainer=Explainer(Clock(), store, matcher, RULES),
        redaction=RULES,
        share=False,
        record_statuses=(),
        replay_delays=False,
        spool_dir=Path(),
    )


def recordings_of(one: Recorded) -> Recordings:
    assert isinstance(one.store, CassetteStore)
    return one.store.interactions.recordings


def replayed(one: Recorded, place: int, scope: str = "") -> None:
    """A client of a scope asks for what stands at a place."""
    store = recordings_of(one)
    request = store.request(place)
    assert request is not None
    key = one.matcher.recorded_key(IndexEntry(request))
    places = [
        other
        for other in store.places()
        if (found := store.request(other)) is not None
        and one.matcher.recorded(found).digest == key.digest
    ]
    name = recording_name(key.digest, key.variant)
    played = one.playhead.next(scope, name, places)
    assert played is not None
    one.playhead.use(*filed(Matches(name, places), played))


def left(*routes: Recorded) -> list[str]:
    return [one.request.removeprefix("GET https://api.test") for one in unused(routes)]


class TestUnused:
    def test_those_that_nobody_asked_for(self, tmp_path: Path) -> None:
        """In recorded order."""
        api = cassette(tmp_path, "/a", "/b", "/c", "/a")
        one = route(api)
        api.open()
        assert left(one) == ["/a", "/b", "/c", "/a"]
        replayed(one, 1)
        replayed(one, 0)
        assert left(one) == ["/c", "/a"]
        replayed(one, 0)
        replayed(one, 2)
        assert left(one) == []
        replayed(one, 0)  # the first one again
        assert left(one) == []

    def test_scopes_begin_each_with_the_first(self, tmp_path: Path) -> None:
        api = cassette(tmp_path, "/a", "/a", "/a")
        one = route(api)
        api.open()
        replayed(one, 0, "x")
        replayed(one, 0, "y")
        replayed(one, 0, "y")
        assert left(one) == ["/a"]

    def test_what_was_recorded_in_this_run_is_used(self, tmp_path: Path) -> None:
        api = cassette(tmp_path, "/a")
        one = route(api, Mode.AUTO)
        api.open()
        request = recordings_of(one).request(0)
        assert request is not None
        key = one.matcher.recorded_key(IndexEntry(request))
        one.playhead.make(recording_name(key.digest, key.variant))
        assert left(one) == []

    def test_hosts_that_share_a_cassette(self, tmp_path: Path) -> None:
        """Each has its own way to look at it; used by one is used."""
        api = cassette(tmp_path, "/a", "/b", "/c")
        one, other = route(api), route(api)
        api.open()
        replayed(one, 0)
        replayed(other, 1)
        assert left(one, other) == ["/c"]

    @pytest.mark.parametrize("mode", [Mode.RECORD, Mode.PASSTHROUGH])
    def test_modes_that_replay_nothing(self, tmp_path: Path, mode: Mode) -> None:
        api = cassette(tmp_path, "/a")
        one = route(api, mode)
        api.open()
        assert left(one) == []

    @pytest.mark.parametrize(
        ("changed", "shown"),
        [
            ({"port": 80}, "GET https://api.test:80/a"),
            ({"scheme": "http", "port": 80}, "GET http://api.test/a"),
            ({"host": "::1", "port": 1}, "GET https://[::1]:1/a"),
            ({"host": "b\u00fccher.test"}, "GET https://b\u00fccher.test/a"),
            ({"scheme": None, "host": None, "port": None}, "GET /a"),
            ({"scheme": "gopher", "port": None}, "GET gopher://api.test/a"),
        ],
    )
    def test_they_are_named_as_far_as_the_cassette_does(
        self, tmp_path: Path, changed: dict[str, Any], shown: str
    ) -> None:
        """Whatever somebody has written into it."""
        api = cassette(tmp_path, "/a", **changed)
        one = route(api)
        api.open()
        assert [each.request for each in unused([one])] == [shown]

    def test_secrets_are_not_shown(self, tmp_path: Path) -> None:
        """Not even those of a cassette that was made without redaction."""
        api = cassette(tmp_path, "/a?api_key=secret")
        one = route(api)
        api.open()
        assert "secret" not in left(one)[0]
