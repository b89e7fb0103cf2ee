"""Two conversations, pages or tenants are two requests: in auto, in replay, and at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from attrs import define, field, frozen
from bench import eventually, interactions
from raw_http import Answer, RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

NAMED = (
    "X-Session-Id", "Mcp-Session-Id", "X-Tenant-Key", "X-Acme-Org-Token", "X-Customer-Secret",
    "Client-Secret", "X-Api-Key", "Cookie",
)  # fmt: skip

VALUES: Mapping[str, tuple[bytes, bytes, bytes]] = {
    "uuid": (
        b"7f1d0c52-93a4-4e0b-8c7e-2f6a91d3b845",
        b"c29e5b17-08fd-4a63-b1d2-90e47c3a6f5d",
        b"1b83f6a0-5d2c-4917-9e4f-c70a25b9d36e",
    ),
    "hex": (
        b"9c1185a5c5e9fc54612808977ee8f548",
        b"b2258d8e3a4e2f1c9d70c6b5a4938271",
        b"5f4dcc3b5aa765d61d8327deb882cf99",
    ),
    "opaque": (
        b"q3Zt8wYb1KfXn5Rv7LdMp2HsJ6cGaE0u",
        b"V9mTe4XsQ7rLb2NwKz8CyP1dHf5JgA3o",
        b"Rk7WnB2vYx9TqM4cZs6DfL1hPj8GaE5u",
    ),
    "base64": (
        b"eyJvIjoxLCJzIjoiYWJjZGVmZ2gifQ==",
        b"eyJvIjoyLCJzIjoiaGdmZWRjYmEifQ==",
        b"eyJvIjozLCJzIjoiYWFiYmNjZGQifQ==",
    ),
    "words": (b"acme-production-europe", b"globex-production-asia", b"initech-staging-europe"),
    "twenty": (b"k8Jx2Qw9Zr4Tn6Vb1Mc3", b"p5Hs7Ld0Fg2Ya8Ce6Ru4", b"w1Nd9Kb3Xt7Go5Zi2Em8"),
}


@frozen
class Case:
    """Where a value stands in a request."""

    name: str
    make: Callable[[bytes, bytes], bytes]

    def __str__(self) -> str:
        return self.name


def in_query(name: str) -> Case:
    def make(path: bytes, value: bytes) -> bytes:
        return request(b"%b?limit=3&%b=%b" % (path, name.encode(), quote(value, "").encode()))

    return Case(f"query {name}", make)


def in_json(name: str) -> Case:
    """A dotted name is a path of members."""

    def make(path: bytes, value: bytes) -> bytes:
        document: object = value.decode()
        for part in reversed(name.split(".")):
            document = {"kind": "x", part: document}
        headers = [(b"Content-Type", b"application/json")]
        body = json.dumps(document).encode()
        return request(path, method=b"POST", headers=headers, body=body)

    return Case(f"json {name}", make)


def in_form(name: str) -> Case:
    def make(path: bytes, value: bytes) -> bytes:
        headers = [(b"Content-Type", b"application/x-www-form-urlencoded")]
        body = b"a=b&%b=%b" % (name.encode(), quote(value, "").encode())
        return request(path, method=b"POST", headers=headers, body=body)

    return Case(f"form {name}", make)


def in_header(name: str, form: bytes = b"%b") -> Case:
    def make(path: bytes, value: bytes) -> bytes:
        return request(path, headers=[(b"Accept", b"*/*"), (name.encode(), form % value)])

    return Case(f"header {name}", make)


def in_text(name: str, media_type: bytes, form: bytes) -> Case:
    def make(path: bytes, value: bytes) -> bytes:
        return request(
            path, method=b"POST", headers=[(b"Content-Type", media_type)], body=form % value
        )

    return Case(name, make)


def in_path(name: str, form: bytes) -> Case:
    def make(path: bytes, value: bytes) -> bytes:
        return request(path + form % quote(value, "").encode())

    return Case(name, make)


PART = b'--b\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n%b\r\n--b--\r\n'
CASES = (
    *map(in_query, (
        "session_id", "sessionId", "sid", "session", "conversation_id", "page_token", "pageToken",
        "nextPageToken", "next_token", "NextToken", "cursor", "starting_after", "after", "before",
        "continuation-token", "sync_token", "syncToken", "nextpage", "marker", "key", "token",
        "tenant_key", "tenant",
    )),
    *map(in_json, (
        "session_id", "sessionId", "session.id", "session", "sessionToken", "conversation",
        "conversation_id", "thread_id", "previous_response_id", "pageToken", "page_token",
        "nextPageToken", "next_token", "NextToken", "nextToken", "cursor", "page.cursor",
        "ContinuationToken", "continuation_token", "syncToken", "ExclusiveStartKey.id.S", "token",
        "key", "tenant_key", "tenantToken", "variables.after", "variables.sessionId",
    )),
    *map(in_form, ("session_id", "pageToken", "next_token", "cursor", "sid", "NextToken")),
    *map(in_header, NAMED[:-1]),
    in_header("Cookie", b"theme=dark; sid=%b"),
    in_path("path", b"/sessions/%b/messages"),
    in_path("path parameter", b"/list;jsessionid=%b"),
    in_text("xml", b"text/xml", b"<q><SessionId>%b</SessionId></q>"),
    in_text("graphql", b"application/graphql", b'{ items(after: "%b") { id } }'),
    in_text("multipart", b"multipart/form-data; boundary=b", PART),
    in_text("batch of lines", b"application/x-ndjson", b'{"a":1}\n{"session_id":"%b"}\n'),
)  # fmt: skip


def told(received: Received) -> bytes:
    """What a request says, as an answer."""
    named = [received.header(name.encode()) or b"-" for name in NAMED]
    digest = sha256(b"\n".join((received.target, received.body, *named))).hexdigest()
    return answer(digest.encode())


@define
class Gate:
    """Answers wait while it is shut."""

    _opened: threading.Event = field(factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self._opened.set()

    def __call__(self, received: Received) -> bytes:
        if received.target != b"/open":
            self._opened.wait(120)
        return told(received)

    def shut(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()


@frozen
class Service:
    """``auto`` records with an upstream, ``replay`` is another process without one.

    ``plain`` are the ports without rules, ``named`` those with ``match.header``.
    """

    upstream: FakeUpstream
    gate: Gate
    auto: BuffrProcess
    replay: BuffrProcess
    directory: Path
    _numbers: Iterator[int] = field(factory=count)

    def new_path(self) -> bytes:
        return b"/n%05d" % next(self._numbers)

    def received(self, path: bytes) -> int:
        return sum(one.target.startswith(path) for one in self.upstream.received)

    def recorded(self, path: bytes, port: int) -> int:
        cassette = self.directory / ("plain.json", "named.json")[port]
        found = [one["http"]["request"]["path"] for one in interactions(cassette)]
        return sum(each.startswith(path.decode()) for each in found)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("apart")
    gate = Gate()
    rules: tuple[dict[str, list[str]], ...] = ({}, {"header": list(NAMED)})
    with FakeUpstream(gate) as upstream:

        def run(mode: str) -> AbstractContextManager[BuffrProcess]:
            target = {"target": upstream.url} if mode == "auto" else {}
            rows = [
                {"port": 0, "mode": mode, "cassette": f"{name}.json", "match": rule, **target}
                for name, rule in zip(("plain", "named"), rules, strict=True)
            ]
            settings = directory / f"{mode}.yaml"
            settings.write_text(yaml.safe_dump({"reverse": rows}))
            return BuffrProcess.run("serve", "--config", str(settings), cwd=directory, listeners=2)

        with run("auto") as auto, run("replay") as replay:
            yield Service(upstream, gate, auto, replay, directory)
            gate.open()


def port_of(case: Case) -> int:
    """Header fields that are redacted count where ``match.header`` names them."""
    return int(case.name.startswith("header"))


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(params=VALUES)
def values(request: pytest.FixtureRequest) -> tuple[bytes, bytes, bytes]:
    return VALUES[request.param]


class TestTwoRequests:
    def test_each_has_its_own_answer(
        self, service: Service, case: Case, values: tuple[bytes, bytes, bytes]
    ) -> None:
        path, number = service.new_path(), port_of(case)
        one, other, third = [case.make(path, value) for value in values]
        port = service.auto.ports[number]
        first, second = ask(port, one).body, ask(port, other).body
        assert first != second
        assert [ask(port, raw).body for raw in (one, other)] == [first, second]
        assert service.received(path) == 2
        assert service.recorded(path, number) == 2
        port = service.replay.ports[number]
        assert [ask(port, raw).body for raw in (other, one)] == [second, first]
        assert ask(port, third).status == 599
        assert service.received(path) == 2


class TestAtOnce:
    @pytest.mark.parametrize("number", [0, 1], ids=["plain", "named"])
    def test_they_share_no_call(self, service: Service, case: Case, number: int) -> None:
        """Fields that no rule names are credentials here: different ones never share."""
        one, other, _ = VALUES["opaque"]
        path = service.new_path()
        raws = [case.make(path, value) for value in (one, other, one, other)]
        service.gate.shut()
        clients = [RawClient(service.auto.ports[number]) for _ in raws]
        try:
            for client, raw in zip(clients, raws, strict=True):
                client.send(raw)
            for _ in range(2):
                # Connections are read in their order: those before it have been.
                ask(service.auto.ports[number], request(b"/open"))
            eventually(lambda: service.received(path) >= 2)
        finally:
            service.gate.open()
        got = [_answer(client) for client in clients]
        assert got[0].body != got[1].body
        assert [each.body for each in got[2:]] == [each.body for each in got[:2]]
        assert service.received(path) == 2


def _answer(client: RawClient) -> Answer:
    with client:
        return client.answer()
