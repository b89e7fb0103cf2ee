"""The exchanges that the admin listener tells of: kept, shown, found, and sent as events."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from admin_client import Admin
from attrs import define, field

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer, chunked
from buffr.testing.upstream import Step

KEY = "sk-aaaaaaaaaaaaaaaaaaaaaaaa1"
CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "How are you?"}]}
EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(3)]
SETTINGS = """
reverse:
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: auto.json}
  - {target: 'UPSTREAM', port: 0, mode: passthrough}
  - {target: 'UPSTREAM', port: 0, mode: replay, cassette: none.json}
gateway:
  port: 0
  routes: {cached: {target: 'UPSTREAM', mode: cache, ttl: 1h}}
"""


@define(eq=False)
class Place:
    """A buffr with a port for each policy, and its admin listener."""

    buffr: BuffrProcess
    admin: Admin
    go_on: threading.Event = field(factory=threading.Event)
    client: httpx.Client = field(factory=lambda: httpx.Client(trust_env=False, timeout=30))

    @property
    def auto(self) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[0]}"

    @property
    def passing(self) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[1]}"

    @property
    def replay(self) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[2]}"

    @property
    def cached(self) -> str:
        return f"http://127.0.0.1:{self.buffr.ports[3]}/cached"

    def found(self, text: str) -> list[dict[str, Any]]:
        """The exchanges that a filter finds, the newest first."""
        items: list[dict[str, Any]] = self.admin.get("/api/exchanges", q=text)["items"]
        return items

    def detail(self, text: str) -> Any:
        return self.admin.get(f"/api/exchanges/{self.found(text)[0]['id']}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("exchanges")
    go_on = threading.Event()

    def script(request: Received) -> bytes | Iterator[Step]:
        if b"/stream" in request.target:
            return stream()
        if b"/bomb" in request.target:
            packed = gzip.compress(b"a " * (9 << 20))
            return answer(packed, headers=[(b"Content-Encoding", b"gzip")])
        fields = [(b"Content-Type", b"application/json"), (b"X-Secret-Key", KEY.encode())]
        return answer(json.dumps({"echo": request.body.decode()}).encode(), headers=fields)

    def stream() -> Iterator[Step]:
        told = chunked(EVENTS, [(b"Content-Type", b"text/event-stream")])
        yield next(told)
        yield next(told)
        assert go_on.wait(60)
        yield from told

    with FakeUpstream(script) as upstream:
        (directory / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=directory, env=environment, listeners=4) as buffr:
            yield Place(buffr, Admin.of(buffr, directory), go_on)


class Watching:
    """Reads the events of an admin listener, on a thread."""

    def __init__(self, admin: Admin, **query: Any) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self._news = threading.Condition()
        self._admin, self._query = admin, query
        self._ready = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Watching]:
        with self._admin.client.stream("GET", "/api/events", params=self._query) as answer:
            threading.Thread(target=self._read, args=(answer,), daemon=True).start()
            self.wait(lambda: self.of("hello"))
            yield self

    def _read(self, answer: httpx.Response) -> None:
        name = number = ""
        try:
            for line in answer.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "id":
                    number = value
                elif key == "data":
                    with self._news:
                        self.events.append((name, number, json.loads(value)))
                        self._news.notify_all()
        except (httpx.HTTPError, httpx.StreamError):
            pass

    def of(self, name: str) -> list[Any]:
        return [data for kind, _, data in self.events if kind == name]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        return [item for data in self.of("exchanges") for item in data["items"]]

    def wait(self, found: Callable[[], Any]) -> Any:
        with self._news:
            assert self._news.wait_for(lambda: bool(found()), 60)
        return found()


class TestSummaries:
    def test_where_each_answer_came_from(self, place: Place) -> None:
        for _ in range(3):
            place.client.get(f"{place.auto}/sources")
            place.client.get(f"{place.cached}/sources")
        place.client.get(f"{place.passing}/sources")
        place.client.get(f"{place.replay}/sources")
        by_route: dict[str, list[str]] = {}
        for one in place.found("path:/sources"):
            by_route.setdefault(one["route"], []).append(one["source"])
        auto, passing, replay = (f"reverse-{port}" for port in place.buffr.ports[:3])
        # The third hit on the recording comes out of the memo of hits.
        assert by_route[auto] == ["cassette", "cassette", "upstream"]
        assert by_route["gateway-cached"] == ["cache", "cache", "upstream"]
        assert by_route[passing] == ["upstream"]
        assert by_route[replay] == ["miss"]

    def test_what_a_request_means(self, place: Place) -> None:
        place.client.post(f"{place.passing}/v1/chat/completions", json=CHAT)
        (one,) = place.found("model:gpt-5-mini path:/v1/chat/completions")
        assert one["label"] == "chat · gpt-5-mini · 1 message"
        assert one["about"] == "How are you?"
        query = {"query": "mutation CreateRefund($id: ID!) { x }"}
        place.client.post(f"{place.passing}/graphql", json=query)
        assert place.found("path:/graphql")[0]["label"] == "mutation CreateRefund"
        fields = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}
        body = {"TableName": "orders"}
        place.client.post(f"{place.passing}/aws", json=body, headers=fields)
        assert place.found("path:/aws")[0]["label"] == "GetItem · orders"
        key = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
        place.client.post(f"{place.passing}/aws", json={"Name": key}, headers=fields)
        assert place.found("path:/aws")[0]["label"] == "GetItem · REDACTED"

    @pytest.mark.parametrize(
        ("path", "label"),
        [
            ("/v1/refunds/41?page=2", "refunds/41?page=2"),
            ("/api/refunds", "refunds"),
            ("/v2", "v2"),
            ("/", "/"),
        ],
    )
    def test_a_request_that_means_its_path(self, place: Place, path: str, label: str) -> None:
        place.client.get(f"{place.passing}{path}")
        assert place.found("")[0]["label"] == label

    def test_scope_trace_and_url(self, place: Place) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        fields = {"X-Buffr-Scope": "one", "traceparent": trace}
        place.client.get(f"{place.auto}/scoped", headers=fields)
        (one,) = place.found("scope:one")
        assert one["traceparent"] == fields["traceparent"]
        assert one["url"] == f"http://{one['host']}/scoped"
        place.buffr.wait_for(f"/scoped.*trace={trace}")

    def test_requests_that_differ_in_their_trace_alone(self, place: Place) -> None:
        """They are answered out of the memo of hits; each is shown with its own trace."""
        traces = [f"00-{number:032x}-b7ad6b7169203331-01" for number in range(1, 8)]
        for number, trace in enumerate(traces):
            fields = {"traceparent": trace, "X-Request-Id": f"request-{number}"}
            place.client.get(f"{place.auto}/traced", headers=fields)
            place.buffr.wait_for(f"/traced.*trace={trace}")
        found = place.found("path:/traced")
        assert [one["traceparent"] for one in reversed(found)] == traces
        one = place.admin.get(f"/api/exchanges/{found[1]['id']}")
        assert ["x-request-id", "request-5"] in [
            [name.lower(), value] for name, value in one["request"]["headers"]
        ]


class TestDetails:
    def test_both_sides_of_what_was_fetched_and_of_what_was_replayed(self, place: Place) -> None:
        for _ in range(2):
            place.client.post(f"{place.auto}/sides", json={"a": 1})
        replayed, fetched = place.found("path:/sides")
        made = place.admin.get(f"/api/exchanges/{fetched['id']}")
        again = place.admin.get(f"/api/exchanges/{replayed['id']}")
        for one in (made, again):
            assert json.loads(one["request"]["body"]["data"]) == {"a": 1}
            assert json.loads(one["response"]["body"]["data"]) == {"echo": '{"a":1}'}
            assert one["summary"]["interaction"]["index"] is not None
            assert ["method", "POST"] in one["match"]["parts"]
            assert "user-agent" in one["match"]["left_out"]
        assert made["summary"]["recorded"] is True

    def test_no_credentials(self, place: Place) -> None:
        fields = {"Authorization": f"Bearer {KEY}", "Cookie": f"session={KEY}"}
        for url in (place.auto, place.passing, place.replay, place.cached):
            place.client.post(f"{url}/secret?api_key={KEY}", headers=fields, json={"password": KEY})
        assert len(place.found("path:/secret")) == 4
        for one in place.found("path:/secret"):
            shown = place.admin.client.get(f"/api/exchanges/{one['id']}").text
            assert KEY not in shown
            assert "REDACTED" in shown
        # Nor can a filter be asked whether they occur.
        assert not place.found(f"body:{KEY}")
        assert not place.found(f"header:{KEY}")

    def test_a_miss_with_the_answer_that_the_client_got(self, place: Place) -> None:
        got = place.client.get(f"{place.replay}/no-such-recording")
        detail = place.detail("path:/no-such-recording")
        assert detail["response"]["status"] == 599
        assert detail["response"]["body"]["data"] == got.text

    def test_a_stream_by_its_chunks(self, place: Place) -> None:
        place.go_on.set()
        for _ in range(2):
            place.client.get(f"{place.auto}/stream/whole")
        for one in place.found("path:/stream/whole"):
            detail = place.admin.get(f"/api/exchanges/{one['id']}")
            assert one["kind"] == "sse"
            sizes = [chunk["size_bytes"] for chunk in detail["response"]["chunks"]]
            assert sizes == [len(event) for event in EVENTS]
        place.go_on.clear()

    def test_as_much_of_a_body_as_is_asked_for(self, place: Place) -> None:
        place.client.post(f"{place.auto}/long", content=b"x" * 5000)
        (one,) = place.found("path:/long")
        detail = place.admin.get(f"/api/exchanges/{one['id']}", body_bytes=100)
        body = detail["request"]["body"]
        assert (body["size_bytes"], body["data"], body["truncated"]) == (5000, "x" * 100, True)

    def test_one_that_is_much_longer_without_its_coding(self, place: Place) -> None:
        """It would be searched for credentials for as long as somebody looks at it."""
        place.client.get(f"{place.auto}/bomb")
        made = place.detail("path:/bomb")
        kept = place.admin.get(f"/api/interactions/{made['summary']['interaction']['id']}")
        for one in (made, kept):
            assert "too long without its coding" in one["response"]["body"]["unavailable"]
        assert kept["element"] is None

    def test_one_that_is_not_kept(self, place: Place) -> None:
        place.admin.ask("GET", "/api/exchanges/999999999", status=404)


class TestLists:
    def test_page_by_page(self, place: Place) -> None:
        for number in range(25):
            place.client.get(f"{place.passing}/paged/{number}")
        paths: list[str] = []
        page: Any = {"next": None}
        while True:
            query = {} if page["next"] is None else {"before": page["next"]}
            page = place.admin.get("/api/exchanges", limit=10, q="path:/paged/", **query)
            paths += [one["path"] for one in page["items"]]
            if page["next"] is None:
                break
        assert paths == [f"/paged/{number}" for number in reversed(range(25))]

    def test_from_one_on(self, place: Place) -> None:
        place.client.get(f"{place.passing}/before")
        newest = place.admin.get("/api/exchanges", limit=1)["items"][0]["id"]
        for number in range(3):
            place.client.get(f"{place.passing}/after/{number}")
        page = place.admin.get("/api/exchanges", after=newest, limit=2)
        assert [one["path"] for one in page["items"]] == ["/after/0", "/after/1"]
        page = place.admin.get("/api/exchanges", after=page["next"])
        assert [one["path"] for one in page["items"]] == ["/after/2"]

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("src:miss", 1),
            ("-src:miss", 3),
            ("status:599", 1),
            ("status:2xx", 3),
            ("status:>=400", 1),
            ("method:POST", 1),
            ("dur:<60s", 4),
            ("size:>1000000", 0),
            ("body:needle", 2),
            ("header:x-odd", 1),
            ("-body:needle src:upstream", 2),
            ("filtered/b", 1),
        ],
    )
    def test_by_a_filter(self, place: Place, text: str, count: int) -> None:
        if not place.found("path:/filtered/"):
            place.client.get(f"{place.passing}/filtered/a", headers={"X-Odd": "1"})
            place.client.get(f"{place.passing}/filtered/b")
            place.client.post(f"{place.passing}/filtered/c", content=b"a needle")
            place.client.get(f"{place.replay}/filtered/needle")
        assert len(place.found(f"path:/filtered/ {text}")) == count

    @pytest.mark.parametrize("text", ["nosuch:1", "status:x", "dur:>1y"])
    def test_a_filter_that_means_nothing(self, place: Place, text: str) -> None:
        answer = place.admin.client.get("/api/exchanges", params={"q": text})
        assert answer.status_code == 400

    def test_figures_over_time(self, place: Place) -> None:
        place.client.get(f"{place.passing}/series")
        steps = place.admin.get("/api/series", span_s=3600)["steps"]
        total = place.admin.get("/api/status")["counts"]["total"]
        assert sum(sum(step["by_source"].values()) for step in steps) == total


class TestEvents:
    def test_exchanges_as_they_end(self, place: Place) -> None:
        with Watching(place.admin, q="path:/live/").running() as watching:
            for number in range(3):
                place.client.get(f"{place.auto}/live/{number}")
            place.client.get(f"{place.auto}/other")
            watching.wait(lambda: len(watching.exchanges) == 3)
            paths = [one["path"] for one in watching.exchanges]
            assert paths == ["/live/0", "/live/1", "/live/2"]
            watching.wait(lambda: watching.of("counts"))

    def test_from_where_the_connection_broke(self, place: Place) -> None:
        place.client.get(f"{place.passing}/resumed/0")
        last = place.admin.get("/api/exchanges", limit=1)["items"][0]["id"]
        place.client.get(f"{place.passing}/resumed/1")
        with Watching(place.admin, after=last).running() as watching:
            watching.wait(lambda: watching.exchanges)
            assert watching.exchanges[0]["path"] == "/resumed/1"

    def test_an_answer_while_it_comes(self, place: Place) -> None:
        with Watching(place.admin).running() as watching:
            url = f"{place.passing}/stream/live"
            with place.client.stream("GET", url) as answer:
                (opened,) = watching.wait(lambda: watching.of("open"))
                assert opened["state"] == "open"
                shown = place.admin.get(f"/api/exchanges/{opened['id']}")
                assert shown["response"]["body"]["data"] == EVENTS[0].decode()
                place.go_on.set()
                answer.read()
            done = watching.wait(
                lambda: [one for one in watching.exchanges if one["path"] == "/stream/live"]
            )
            assert done[0]["id"] == opened["id"]
            place.go_on.clear()

    def test_no_more_clients_than_there_may_be(self, place: Place) -> None:
        streams = [place.admin.client.stream("GET", "/api/events") for _ in range(25)]
        try:
            statuses = [stream.__enter__().status_code for stream in streams]
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)
        served = statuses.count(200)
        assert served <= 20
        assert statuses == [200] * served + [503] * (25 - served)


class TestMemory:
    def test_old_exchanges_go_first(self, tmp_path: Path) -> None:
        with FakeUpstream(lambda _: answer(b"y" * 2000)) as upstream:
            settings = f"""
reverse: [{{target: '{upstream.url}', port: 0, mode: passthrough}}]
admin: {{address: 0, exchanges_bytes: 64KiB}}
"""
            (tmp_path / "buffr.yaml").write_text(settings)
            environment = {"BUFFR_ADMIN": ""}
            with BuffrProcess.run("serve", cwd=tmp_path, env=environment) as buffr:
                admin = Admin.of(buffr, tmp_path)
                with httpx.Client(trust_env=False) as client:
                    for number in range(60):
                        client.get(f"{buffr.url}/{number}")
                page = admin.get("/api/exchanges", limit=1000)
                kept = [one["path"] for one in page["items"]]
                assert kept == [f"/{number}" for number in range(59, 59 - len(kept), -1)]
                assert 10 < len(kept) < 32  # 64 KiB hold no more than so many answers
                assert admin.get("/api/status")["counts"]["total"] == 60
