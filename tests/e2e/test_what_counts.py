"""Header fields that choose: the operation, the account, the version, the representation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, Place, eventually
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

Field = tuple[bytes, bytes]


def echo(*names: bytes, fields: tuple[Field, ...] = ()) -> Callable[[Received], bytes]:
    """Answers with the values of these request fields."""

    def script(received: Received) -> bytes:
        got = b" ".join([received.header(name) or b"-" for name in names])
        return answer(got, headers=fields)

    return script


def sent(place: Place, *fields: Field, method: bytes = b"GET", body: bytes = b"") -> bytes:
    return request(place.path, method=method, headers=list(fields), body=body)


class TestIdentity:
    @pytest.mark.parametrize(
        ("name", "method", "body"),
        [
            (b"X-Amz-Target", b"POST", b"{}"),
            (b"SOAPAction", b"POST", b"<e/>"),
            (b"X-HTTP-Method-Override", b"POST", b""),
            (b"Last-Event-ID", b"GET", b""),
            (b"Stripe-Account", b"GET", b""),
            (b"X-Amz-Copy-Source", b"PUT", b""),
            (b"Depth", b"PROPFIND", b""),
            (b"Access-Control-Request-Method", b"OPTIONS", b""),
        ],
    )
    def test_each_has_its_own_answer(
        self, place: Place, name: bytes, method: bytes, body: bytes
    ) -> None:
        """Absence is a value, too."""
        place.answers(echo(name))
        for value in (b"one", b"two", None, b"one", b"two", None):
            fields = [] if value is None else [(name, value)]
            got = place.ask("auto", sent(place, (b"a", b"b"), *fields, method=method, body=body))
            assert got.body == (value or b"-")
        assert len(place.received()) == 3
        got = place.ask("replay", sent(place, (name, b"three"), method=method, body=body))
        assert got.status == 599
        assert name.lower() in got.body

    def test_the_action_of_soap_12(self, place: Place) -> None:
        place.answers(echo(b"Content-Type"))
        types = [b'application/soap+xml; charset=utf-8; action="urn:%b"' % a for a in (b"a", b"b")]
        for kind in types * 2:
            raw = sent(place, (b"Content-Type", kind), method=b"POST", body=b"<e/>")
            assert place.ask("auto", raw).body == kind
        assert len(place.received()) == 2

    def test_a_destination_counts_without_its_own_authority(self, place: Place) -> None:
        """buffr has another port each time."""
        place.counts()
        for authority, path, expected in (
            (b"http://127.0.0.1:8080", b"/a", b"1"),
            (b"http://localhost:9090", b"/a", b"1"),
            (b"http://127.0.0.1:8080", b"/b", b"2"),
        ):
            raw = sent(place, (b"Destination", authority + path), method=b"MOVE")
            assert place.ask("auto", raw).body == expected


class TestNoise:
    def test_telemetry_makes_no_difference(self, place: Place) -> None:
        place.counts()
        for number in (b"1", b"2"):
            fields = [
                (name, number)
                for name in (
                    b"User-Agent", b"traceparent", b"X-Request-Id", b"X-Stainless-Retry-Count",
                    b"amz-sdk-invocation-id", b"X-Amz-Date", b"Idempotency-Key", b"X-Unknown",
                )
            ]  # fmt: skip
            assert place.ask("auto", sent(place, *fields)).body == b"1"


class TestVersions:
    def test_auto_records_each(self, place: Place) -> None:
        place.answers(echo(b"Anthropic-Beta"))
        for value in (b"a", b"b,c", b"a", b"c, b"):
            got = place.ask("auto", sent(place, (b"Anthropic-Beta", value)))
            assert set(got.body.replace(b" ", b"").split(b",")) == set(
                value.replace(b" ", b"").split(b",")
            )
        assert len(place.received()) == 2

    def test_replay_takes_the_only_one(self, bench: Bench, place: Place) -> None:
        """A newer SDK never misses for its version alone; each difference is told once."""
        place.answers(echo(b"Stripe-Version"))
        assert place.ask("auto", sent(place, (b"Stripe-Version", b"2024"))).body == b"2024"
        for _ in range(2):
            got = place.ask("replay", sent(place, (b"Stripe-Version", b"2030")))
            assert got.body == b"2024"
        mark = place.mark.decode()

        def told() -> list[str]:
            return [
                line for line in bench.replayer.output if mark in line and "another variant" in line
            ]

        (line,) = eventually(told)
        for word in ("stripe-version", "2024", "2030", "a variant header"):
            assert word in line

    def test_among_several_it_has_to_be_one_of_them(self, place: Place) -> None:
        place.answers(echo(b"Stripe-Version"))
        for value in (b"1", b"2"):
            assert place.ask("auto", sent(place, (b"Stripe-Version", value))).body == value
        for value in (b"1", b"2"):
            assert place.ask("replay", sent(place, (b"Stripe-Version", value))).body == value
        third = (b"Stripe-Version", b"3")
        got = place.ask("replay", sent(place, third, (b"Accept", b"text/plain")))
        assert got.status == 599
        assert got.body.count(b"is another variant of this request") >= 2
        as_json = place.ask("replay", sent(place, third, (b"Accept", b"application/json")))
        nearest = json.loads(as_json.body)["nearest"]
        assert [each["differences"][0]["recorded"] for each in nearest] == ["1", "2"]
        assert all(each["variant"] for each in nearest)

    def test_each_variant_has_its_own_turn(self, place: Place) -> None:
        """The playhead counts per key and variant."""

        def script(received: Received) -> bytes:
            version = received.header(b"Stripe-Version") or b"-"
            return answer(version + b"%d" % len(place.received()))

        place.answers(script)
        with_version = [sent(place, (b"Stripe-Version", value)) for value in (b"a", b"b")]
        got = [place.ask("once", raw).body for raw in (with_version * 2)]
        assert got == [b"a1", b"b2", b"a3", b"b4"]

    def test_strict(self, tmp_path: Path) -> None:
        with FakeUpstream(echo(b"Prefer")) as upstream:
            first, second = (request(b"/", headers=[(b"Prefer", value)]) for value in (b"a", b"b"))
            with BuffrProcess.run(
                "auto", "--target", upstream.url, "--port", "0", "--data-dir", str(tmp_path)
            ) as buffr:
                assert ask(buffr.ports[0], first).body == b"a"
            (cassette,) = tmp_path.glob("*.json")
            settings = tmp_path / "buffr.yaml"
            settings.write_text(
                f"reverse: [{{port: 0, mode: replay, cassette: {cassette.name},"
                " match: {variants: strict}}]"
            )
            with BuffrProcess.run("serve", "--config", str(settings), cwd=tmp_path) as buffr:
                assert ask(buffr.ports[0], first).body == b"a"
                assert ask(buffr.ports[0], second).status == 599


class TestVary:
    @pytest.mark.parametrize("name", [b"Accept", b"Accept-Language", b"Origin", b"X-Theme"])
    def test_what_the_answer_names(self, place: Place, name: bytes) -> None:
        place.answers(echo(name, fields=((b"Vary", b"User-Agent, " + name),)))
        for value in (b"one/x", b"two/x", b"one/x", b"two/x"):
            assert place.ask("auto", sent(place, (name, value))).body == value
        assert len(place.received()) == 2

    def test_a_media_type_that_the_client_does_not_accept(self, place: Place) -> None:
        """Even where the answer says no Vary."""

        def script(received: Received) -> bytes:
            kind = (received.header(b"Accept") or b"*/*").replace(b"*/*", b"application/json")
            return answer(kind, headers=((b"Content-Type", kind),))

        place.answers(script)
        asked = [b"application/json", b"text/csv", b"*/*", b"application/json, text/plain"]
        got = [place.ask("auto", sent(place, (b"Accept", kind))).body for kind in asked]
        assert got == [b"application/json", b"text/csv", b"application/json", b"application/json"]

    def test_a_page_served_from_another_port(self, place: Place) -> None:
        """An answer that allows the recorded Origin allows the live one."""

        def script(received: Received) -> bytes:
            origin = received.header(b"Origin") or b"-"
            return answer(b"x", headers=((b"Access-Control-Allow-Origin", origin),))

        place.answers(script)
        for port in (b"3000", b"5173"):
            origin = b"http://localhost:" + port
            got = place.ask("auto", sent(place, (b"Origin", origin)))
            assert got.header(b"Access-Control-Allow-Origin") == origin
        assert len(place.received()) == 1


class TestSeveralAnswersOfOneRequest:
    def test_they_are_replayed_in_turn(self, place: Place) -> None:
        """Whatever their types are, and whatever their Vary names."""
        said = [
            answer(b"", b"202 Accepted"),
            answer(b"none", b"404 None", headers=((b"Content-Type", b"text/html"),)),
            answer(b"{}", headers=((b"Content-Type", b"text/json"), (b"Vary", b"X-Theme, Accept"))),
            answer(b"", b"410 Gone", headers=((b"Vary", b"X-Theme"),)),
        ]
        place.answers(lambda _: said[len(place.received()) - 1])
        fields = (b"Accept", b"application/json"), (b"X-Theme", b"dark")
        live = [place.ask("once", sent(place, *fields)) for _ in said]
        assert [one.status for one in live] == [202, 404, 200, 410]
        again = *fields, (b"X-Buffr-Scope", b"again")
        assert [place.ask("once", sent(place, *again)) for _ in said] == live
        assert len(place.received()) == len(said)
        said.append(answer(b"more"))
        assert [place.ask("once", sent(place, *again)).body for _ in "5"] == [b"more"]
        # For the first scope, too, what it got live counts.
        said.append(answer(b"and more"))
        got = [place.ask("once", sent(place, *fields)).body for _ in "56"]
        assert got == [b"more", b"and more"]

    def test_each_client_has_those_it_got(self, place: Place) -> None:
        """Though it would accept those of the other."""

        def script(received: Received) -> bytes:
            kind = b"text/html" if received.header(b"Accept") == b"text/html" else b"text/json"
            number = b"%d" % len(place.received())
            return answer(kind + number, headers=((b"Content-Type", kind),))

        place.answers(script)
        page, api = sent(place, (b"Accept", b"text/html")), sent(place, (b"Accept", b"*/*"))
        live = [place.ask("once", raw).body for raw in (page, api, page, api)]
        again = (b"X-Buffr-Scope", b"again")
        page = sent(place, (b"Accept", b"text/html"), again)
        api = sent(place, (b"Accept", b"*/*"), again)
        got = [place.ask("once", raw).body for raw in (api, api, page, page)]
        assert got == [live[1], live[3], live[0], live[2]]


class TestWithoutHeaders:
    def test_written_by_hand(self, tmp_path: Path) -> None:
        """A recording that says nothing of its headers answers whatever they are."""
        exchange = {
            "request": {"method": "POST", "path": "/", "body": "{}"},
            "response": {"status": 200, "headers": {"Content-Type": ["text/csv"]}, "body": "hand"},
        }
        cassette = tmp_path / "hand.json"
        cassette.write_text(
            json.dumps({"version": 1, "interactions": [{"type": "http", "http": exchange}]})
        )
        with BuffrProcess.run("replay", "--port", "0", "--cassette", str(cassette)) as buffr:
            for field in (
                (b"X-Amz-Target", b"A.B"),
                (b"Stripe-Version", b"1"),
                (b"Accept", b"x/y"),
            ):
                raw = request(b"/", method=b"POST", body=b"{}", headers=[field])
                assert ask(buffr.ports[0], raw).body == b"hand"
