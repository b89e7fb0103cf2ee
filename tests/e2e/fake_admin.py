"""An admin listener without a buffr: the page's own files, and figures in any number.

Its answers have the shapes of ``buffr/admin/openapi.yaml``; a test holds them to it.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import define, field

import buffr

__all__ = ["FakeAdmin", "exchange", "fake_admin"]

STATIC = Path(buffr.__file__).parent / "admin" / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
DAY_MS = 86_400_000

Json = dict[str, Any]


def _saved(ms: float, tokens: tuple[int, int] | None = None, usd: float | None = None) -> Json:
    given, made = tokens or (None, None)
    return {
        "upstream_ms": ms,
        "bytes": 400,
        "input_tokens": given,
        "output_tokens": made,
        "usd": usd,
    }


def exchange(number: int, **more: Any) -> Json:
    """A summary of an exchange: a hit of DynamoDB, unless told otherwise."""
    found = {
        "id": number,
        "at_ms": int(time.time() * 1000) - 1000,
        "state": "done",
        "kind": "http",
        "source": "cassette",
        "method": "POST",
        "url": "https://dynamodb.eu-central-1.amazonaws.com/",
        "host": "dynamodb.eu-central-1.amazonaws.com",
        "path": "/",
        "status": 200,
        "duration_ms": 0.4,
        "route": "forward-dynamodb",
        "scope": "",
        "label": "GetItem · orders",
        "operation": "GetItem",
        "model": None,
        "stream": False,
        "about": None,
        "detail": None,
        "level": "INFO",
        "request_bytes": 74,
        "response_bytes": 318,
        "chunks": 1,
        "frames": None,
        "interaction": {
            "id": None,
            "store": "dynamodb",
            "index": 14,
            "recorded_at_ms": None,
        },
        "recorded": False,
        "age_s": None,
        "traceparent": None,
        "saved": _saved(38),
    }
    found.update(more)
    if "host" in more or "path" in more:
        found["url"] = more.get("url", f"https://{found['host']}{found['path']}")
    if found["source"] not in ("cassette", "cache", "stale"):
        found["saved"] = None
    return found


SCENES: tuple[Json, ...] = (
    {
        "label": "SendMessage · refunds-queue",
        "host": "sqs.eu-central-1.amazonaws.com",
        "scope": "dev · storefront",
        "duration_ms": 0.5,
    },
    {
        "source": "cache",
        "method": "GET",
        "label": "images/hero-1600.avif",
        "host": "cdn.shop.dev",
        "path": "/images/hero-1600.avif",
        "scope": "dev · storefront",
        "interaction": None,
        "age_s": 40,
        "duration_ms": 0.4,
    },
    {
        "source": "bypass",
        "method": "CONNECT",
        "kind": "tunnel",
        "label": "tunnel · 1.2 MB",
        "host": "telemetry.vendor.io:443",
        "path": "",
        "url": "telemetry.vendor.io:443",
        "scope": "dev · storefront",
        "interaction": None,
        "duration_ms": 8200,
    },
    {
        "label": "inventory.v1.Stock/Get · gRPC",
        "kind": "grpc",
        "host": "stock.internal:8443",
        "path": "/inventory.v1.Stock/Get",
        "scope": "dev · storefront",
        "duration_ms": 0.6,
    },
    {
        "source": "upstream",
        "recorded": True,
        "label": "chat · mistral-small",
        "model": "mistral-small",
        "host": "api.mistral.ai",
        "path": "/v1/chat/completions",
        "scope": "dev · storefront",
        "duration_ms": 6800,
    },
    {
        "source": "limit",
        "status": 429,
        "method": "GET",
        "label": "search",
        "detail": "10 a second on api.shop.dev",
        "host": "api.shop.dev",
        "path": "/search?q=boots",
        "scope": "dev · storefront",
        "interaction": None,
        "duration_ms": 0.2,
    },
    {
        "source": "shared",
        "method": "GET",
        "label": "catalog.json",
        "host": "cdn.shop.dev",
        "path": "/catalog.json",
        "scope": "dev · storefront",
        "interaction": None,
        "duration_ms": 164,
    },
    {
        "source": "stale",
        "method": "GET",
        "label": "rates/EUR",
        "detail": "upstream gave 503",
        "host": "rates.bank.dev",
        "path": "/rates/EUR",
        "scope": "dev · storefront",
        "interaction": None,
        "age_s": 900,
        "duration_ms": 212,
    },
    {
        "source": "cache",
        "method": "GET",
        "label": "products?page=3",
        "host": "api.shop.dev",
        "path": "/products?page=3",
        "scope": "dev · storefront",
        "interaction": None,
        "age_s": 12,
        "duration_ms": 0.3,
    },
    {
        "label": "query OrderById",
        "operation": "OrderById",
        "host": "api.shop.dev",
        "path": "/graphql",
        "scope": "tests/test_refunds.py::test_partial",
    },
    {
        "label": "mutation CreateRefund",
        "operation": "CreateRefund",
        "host": "api.shop.dev",
        "path": "/graphql",
        "scope": "tests/test_refunds.py::test_partial",
    },
    {
        "label": "WebSocket · 8 frames",
        "kind": "websocket",
        "method": "GET",
        "status": 101,
        "frames": 8,
        "host": "stream.quotes.dev",
        "path": "/v2/ticks",
        "scope": "tests/test_refunds.py::test_partial",
        "duration_ms": 5100,
    },
    {
        "label": "messages · claude-haiku-4-5 · tool use",
        "model": "claude-haiku-4-5",
        "host": "api.anthropic.com",
        "path": "/v1/messages",
        "scope": "tests/test_refunds.py::test_partial",
        "duration_ms": 0.8,
    },
    {
        "label": "chat · gpt-5-mini · stream",
        "model": "gpt-5-mini",
        "stream": True,
        "kind": "sse",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "scope": "tests/test_refunds.py::test_partial",
        "duration_ms": 3200,
        "saved": _saved(3180, (418, 83), 0.0003),
    },
    {"scope": "tests/test_refunds.py::test_partial"},
    {
        "source": "miss",
        "status": 599,
        "label": "chat · gpt-5-mini · 4 messages",
        "model": "gpt-5-mini",
        "host": "api.openai.com",
        "path": "/v1/chat/completions",
        "scope": "tests/test_refunds.py::test_partial",
        "interaction": None,
        "level": "WARN",
        "detail": "no recording matches",
        "duration_ms": 0.9,
    },
)
"""One exchange of each kind, the oldest first."""


def body(text: str = "", media_type: str | None = "application/json", **more: Any) -> Json:
    return {
        "size_bytes": len(text.encode()),
        "media_type": media_type if text else None,
        "coding": None,
        "decoded": False,
        "encoding": "text",
        "data": text,
        "truncated": False,
        "unavailable": None,
        "messages": None,
        **more,
    }


def _response(answer: Json, chunks: list[Json] | None = None) -> Json:
    kind = [["content-type", answer["media_type"]]] if answer["media_type"] else []
    return {
        "status": 200,
        "reason": "OK",
        "headers": [*kind, ["x-amzn-requestid", "5KQ0V8KNV4KQNSO5AEMVJF66"]],
        "body": answer,
        "chunks": chunks or [{"size_bytes": answer["size_bytes"], "delay_ms": 38}],
        "trailers": [],
        "truncated": None,
    }


_ANSWER = (
    "Good news: the half that you sent back has arrived, and refund re_3301 has now been approved."
    " The customer gets 64.95 EUR back on the card that ends in 4242 within three days."
)
_TALK = json.dumps(
    {
        "model": "gpt-5-mini",
        "temperature": 0.2,
        "max_tokens": 300,
        "stream": True,
        "tools": [
            {"type": "function", "function": {"name": "get_order"}},
            {"type": "function", "function": {"name": "create_refund"}},
        ],
        "messages": [
            {"role": "system", "content": "You handle refunds of an outdoor shop."},
            {"role": "user", "content": "I sent one of the two boots back. When do I get it?"},
            {"role": "assistant", "content": "Let me look. One of two boots, size 44, came."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {
                            "name": "create_refund",
                            "arguments": '{"order_id": "ord_8812", "amount": "64.95"}',
                        },
                    }
                ],
            },
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": '{"refund_id": "re_3301", "state": "approved"}',
            },
        ],
    }
)


def stream_events() -> list[str]:
    """The events of a streamed answer, as OpenAI sends them."""
    words = [f" {word}" if i else word for i, word in enumerate(_ANSWER.split(" "))]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in words]
    made: list[Json] = [
        {"id": "chatcmpl-1", "model": "gpt-5-mini", "choices": [{"index": 0, "delta": each}]}
        for each in deltas
    ]
    usage = {"prompt_tokens": 418, "completion_tokens": 83}
    made.append({"id": "chatcmpl-1", "choices": [], "usage": usage})
    return [f"data: {json.dumps(each)}\n\n" for each in made] + ["data: [DONE]\n\n"]


def _stream(events: list[str]) -> Json:
    pauses = (412, 9, 14, 51, 6, 40, 12, 390, 7, 25)
    chunks = [
        {"size_bytes": len(each.encode()), "delay_ms": pauses[i % len(pauses)] if i else 412}
        for i, each in enumerate(events)
    ]
    return _response(body("".join(events), "text/event-stream"), chunks)


def frame(direction: str, data: str, delay_ms: int, kind: str = "text", **more: Any) -> Json:
    return {
        "direction": direction,
        "kind": kind,
        "delay_ms": delay_ms,
        "size_bytes": len(data),
        "encoding": "text",
        "data": data,
        "truncated": False,
        "close_code": None,
        "reason": None,
        **more,
    }


_FRAMES = [
    frame("client", '{"op": "auth", "key": "REDACTED-key-1f0c77aa"}', 0),
    frame("server", '{"ev": "status", "ok": true}', 27),
    frame("client", '{"op": "subscribe", "symbols": ["AAPL", "SAP"]}', 3),
    frame("server", '{"ev": "tick", "s": "AAPL", "p": 180.00, "v": 100}', 113),
    frame("server", '{"ev": "tick", "s": "SAP", "p": 181.37, "v": 107}', 751),
    frame("server", "abcd", 42, "ping"),
    frame("client", "abcd", 15, "pong"),
    frame("server", "", 900, "close", close_code=1000, reason="done"),
]

_ITEM = {
    "Item": {
        "id": {"S": "ord_8812"},
        "customer": {"S": "cus_2041"},
        "total": {"N": "129.90"},
        "lines": {"L": [{"M": {"sku": {"S": "B4"}}}]},
    }
}
_ASKED = {"TableName": "orders", "Key": {"id": {"S": "ord_8812"}}, "ConsistentRead": True}
_SCRIPT = "<!DOCTYPE html><title>x</title><script>top.hacked = 1; alert(1)</script><h1>Shop</h1>"


def _chat(identity: str, sent_at: str) -> str:
    return json.dumps(
        {
            "model": "gpt-5-mini",
            "metadata": {"request_id": identity, "sent_at": sent_at, "tenant": "shop-eu"},
            "messages": [{"role": "user", "content": f"line {i}"} for i in range(4)],
        }
    )


WAS = ("0b9f9d53-3a0e-4b7e-9e0c-0c2a1c9f1a11", "2026-11-16T09:41:07Z")
IS = ("7c1de7a2-51b4-4f0e-8a43-d21fb3ee6b02", "2026-11-28T14:58:12Z")


_DRIFT = {"result": "addition", "findings": ["/usage/cache: is new, a number"]}


def detail(summary: Json) -> Json:
    """Both sides of an exchange."""
    asked = body(json.dumps(_ASKED)) if summary["method"] == "POST" else body()
    answer: Json | None = _response(body(json.dumps(_ITEM)))
    frames = None
    if summary["label"].startswith("chat · gpt-5-mini · stream"):
        events = stream_events()
        if summary["state"] == "open":
            events = events[: summary["chunks"]]
        asked, answer = body(_TALK), _stream(events)
    elif summary["source"] == "miss":
        asked, answer = body(_chat(*IS)), None
    elif summary["kind"] == "websocket":
        frames = _FRAMES
    elif summary["label"] == "page":
        answer = _response(body(_SCRIPT, "text/html"))
    headers = [
        ["host", summary["host"]],
        ["x-amz-target", "DynamoDB_20120810.GetItem"],
        ["content-type", "application/x-amz-json-1.0"],
        ["authorization", "REDACTED-authorization-bcefd012"],
        ["x-amz-date", "20261128T145812Z"],
        ["user-agent", "Boto3/1.35"],
        ["accept", "*/*"],
    ]
    request: Json = {"method": summary["method"], "url": summary["url"], "headers": headers}
    told = dict(summary)
    if told["interaction"]:
        recorded = int(time.time() * 1000) - 12 * DAY_MS
        told["interaction"] = {**told["interaction"], "id": "d-14", "recorded_at_ms": recorded}
    return {
        "summary": told,
        "request": None if summary["kind"] == "tunnel" else {**request, "body": asked},
        "response": answer,
        "frames": frames,
        "match": {
            "parts": [["method", "POST"], ["path", "/"], ["header x-amz-target", "GetItem"]],
            "left_out": ["authorization", "x-amz-date", "user-agent"],
        },
        "miss": "m1" if summary["source"] == "miss" else None,
        "drift": _DRIFT if summary["label"].startswith("messages") else None,
    }


def _ref(index: int) -> Json:
    return {"id": f"d-{index}", "store": "dynamodb", "index": index, "recorded_at_ms": None}


def _difference(pointer: str, was: str, now: str, noise: str | None) -> Json:
    return {
        "part": "body",
        "pointer": pointer,
        "recorded": json.dumps(was),
        "live": json.dumps(now),
        "noise": noise,
    }


RULE = {"json": ["$.metadata.request_id", "$.metadata.sent_at"]}
_YAML = "match:\n  json:\n    - '$.metadata.request_id'\n    - '$.metadata.sent_at'"


def _nearest(index: int, score: float, changed: list[Json], rule: Json | None) -> Json:
    return {
        "interaction": _ref(index),
        "score": score,
        "differences": changed,
        "rule": rule,
        "rule_yaml": _YAML if rule else None,
        "rule_is_enough": rule is not None,
        "broken": None,
        "variant": False,
    }


def _miss(identity: str, label: str, nearest: list[Json], **more: Any) -> Json:
    now = int(time.time() * 1000)
    return {
        "id": identity,
        "count": 2,
        "first_at_ms": now - 60_000,
        "last_at_ms": now - 2000,
        "route": "forward-openai",
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "label": label,
        "scopes": ["tests/test_refunds.py::test_partial"],
        "exchanges": [16],
        "explanation": "no recording matches",
        "nearest": nearest,
        "same": ["method", "path", "query", "header content-type"],
        "can_record": True,
        **more,
    }


def _misses() -> list[Json]:
    noise = [
        _difference("/metadata/request_id", WAS[0], IS[0], "random id"),
        _difference("/metadata/sent_at", WAS[1], IS[1], "time"),
    ]
    meant = [_difference("/variables/amount", "12.00", "64.95", None)]
    first = [_nearest(7, 0.94, noise, RULE), _nearest(9, 0.61, noise, None)]
    url = "https://api.shop.dev/graphql"
    return [
        _miss("m1", "chat · gpt-5-mini · 4 messages", first),
        _miss("m2", "mutation CreateRefund", [_nearest(5, 0.9, meant, None)], count=1, url=url),
    ]


def _interactions(n: int) -> list[Json]:
    labels = ("chat · gpt-5-mini · 4 messages", "responses · gpt-5", "moderations", "GetItem")
    return [
        {
            "id": f"d-{i}",
            "store": "dynamodb",
            "index": i,
            "kind": "http",
            "method": "POST",
            "url": f"https://api.openai.com/v1/refunds/{i}",
            "host": "api.openai.com",
            "path": f"/v1/refunds/{i}",
            "status": 400 if i % 29 == 28 else 200,
            "label": labels[i % len(labels)],
            "operation": None,
            "model": None,
            "recorded_at_ms": int(time.time() * 1000) - 12 * DAY_MS,
            "request_bytes": 700,
            "response_bytes": 1200,
            "chunks": 1,
            "frames": None,
            "duration_ms": 900,
            "note": None,
            "fault": None,
            "found_in": None,
            "excerpt": None,
        }
        for i in range(n)
    ]


RECORDED = {
    "id": "chatcmpl-C9w1Qx",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "We give no refund after 30 days."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 61, "completion_tokens": 11, "total_tokens": 72},
}


def _recorded(summary: Json) -> Json:
    answer = _response(body(json.dumps(RECORDED)))
    element = {
        "type": "http",
        "http": {
            "request": {"method": "POST", "path": summary["path"], "headers": {}},
            "response": {"status": 200, "headers": {}, "body": json.dumps(RECORDED)},
        },
    }
    asked = {"method": "POST", "url": summary["url"], "headers": [["host", "api.openai.com"]]}
    return {
        "summary": summary,
        "request": {**asked, "body": body(_chat(*WAS))},
        "response": answer,
        "frames": None,
        "match": {"parts": [["method", "POST"]], "left_out": []},
        "element": element,
        "usage": _saved(900, (61, 11), 0.0001),
    }


def _route(identity: str, name: str, mode: str, counts: Json) -> Json:
    return {
        "id": identity,
        "name": name,
        "kind": "forward",
        "mode": mode,
        "modes": ["replay", "auto", "record", "cache"],
        "listens": "127.0.0.1:8080",
        "upstream": f"https://{name}",
        "store": "dynamodb",
        "rules_file": "buffr.yaml",
        "under_way": 0,
        "counts": counts,
        "limited": False,
    }


def _series(span_s: int) -> Json:
    steps = []
    for i in range(span_s // 10):
        wave = 20 + (i * 7) % 13 + (i % 11)
        by: Json = {"cassette": wave, "upstream": max(0, 14 - i // 4)}
        if i % 5 < 2:
            by["cache"] = wave // 3
        if i in (60, 82):
            by["miss"] = 1
        steps.append(
            {
                "by_source": by,
                "mean_ms": 2.0,
                "max_ms": 800.0,
                "saved_ms": 90.0 * wave,
                "saved_usd": 0.002 * wave,
            }
        )
    start = int(time.time() * 1000) - span_s * 1000
    return {"step_s": 10, "start_at_ms": start, "steps": steps}


@define(eq=False)
class FakeAdmin:
    """What the page is shown. Tests add exchanges, and see what was asked."""

    url: str = ""
    token: str = "a-token"
    exchanges: list[Json] = field(factory=list)
    misses: list[Json] = field(factory=_misses)
    interactions: list[Json] = field(factory=lambda: _interactions(212))
    asked: list[tuple[str, str, Any]] = field(factory=list)
    mode: str = "auto"
    refuse_edits: bool = False
    _watchers: list[queue.Queue[str]] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)
    _edits: dict[str, Json] = field(factory=dict)

    def fill(self, number: int, span_s: float = 900) -> None:
        """As many exchanges as that, over a time that ends now."""
        now = int(time.time() * 1000)
        for i in range(number):
            scene = SCENES[i % (len(SCENES) - 1)]
            at = now - int(span_s * 1000 * (number - i) / number)
            took = round(scene.get("duration_ms", 0.4) * (0.6 + (i * 37 % 89) / 89), 2)
            number_of_this = len(self.exchanges) + 1
            more = {**scene, "at_ms": at, "duration_ms": took}
            self.exchanges.append(exchange(number_of_this, **more))

    def scenes(self) -> None:
        now = int(time.time() * 1000)
        for i, scene in enumerate(SCENES):
            at = now - (len(SCENES) - i) * 1300
            self.exchanges.append(exchange(len(self.exchanges) + 1, **{**scene, "at_ms": at}))

    def counts(self) -> Json:
        by: dict[str, int] = {}
        for each in self.exchanges:
            by[each["source"]] = by.get(each["source"], 0) + 1
        return {
            "total": len(self.exchanges),
            "by_source": by,
            "recorded": by.get("upstream", 0),
            "failed_appends": 0,
            "open": 0,
            "misses": len(self.misses),
        }

    def happen(self, *summaries: Json) -> None:
        """Exchanges end, and those who watch are told."""
        known = {each["id"] for each in summaries}
        self.exchanges = [each for each in self.exchanges if each["id"] not in known]
        self.exchanges += summaries
        for at in range(0, len(summaries), 100):
            some = list(summaries[at : at + 100])
            self.tell("exchanges", {"items": some, "skipped": 0}, some[-1]["id"])
        self.tell("counts", self.counts())

    def tell(self, event: str, data: Json, number: int | None = None) -> None:
        last = f"id: {number}\n" if number else ""
        with self._lock:
            for each in self._watchers:
                each.put(f"event: {event}\n{last}data: {json.dumps(data)}\n\n")

    def watchers(self) -> int:
        return len(self._watchers)

    def version(self) -> Json:
        return {
            "version": buffr.__version__,
            "api": "1",
            "python": "3.12",
            "twisted": "25",
            "pid": 1,
            "started_at_ms": 1_790_000_000_000,
            "uptime_s": 900,
            "data_dir": "buffr-data",
            "settings_file": "buffr.yaml",
        }

    def watch(self) -> Iterator[str]:
        mine: queue.Queue[str] = queue.Queue()
        with self._lock:
            self._watchers.append(mine)
        newest = self.exchanges[-1]["id"] if self.exchanges else None
        hello = {"version": self.version(), "newest": newest, "counts": self.counts()}
        try:
            yield f"event: hello\ndata: {json.dumps(hello)}\n\n"
            while True:
                try:
                    yield mine.get(timeout=1)
                except queue.Empty:
                    yield ": still here\n\n"
        finally:
            with self._lock:
                self._watchers.remove(mine)

    def get(self, path: str, asked: dict[str, str]) -> Json | None:
        collection, _, identity = path.partition("/")
        if identity:
            return self._one(collection, identity)
        lists: dict[str, Callable[[], Json]] = {
            "exchanges": lambda: self._page(asked),
            "misses": lambda: {"items": self.misses},
            "series": lambda: _series(int(asked.get("span_s", "900"))),
            "routes": lambda: {"items": self._routes()},
            "stores": lambda: {"items": self._stores()},
            "interactions": lambda: self._found(asked),
            "savings": _savings,
            "limits": lambda: {"items": _limits()},
            "cache": lambda: {"stores": _caches()},
            "status": self._status,
        }
        return lists[collection]() if collection in lists else None

    def _one(self, collection: str, identity: str) -> Json | None:
        if collection == "exchanges":
            found = [each for each in self.exchanges if each["id"] == int(identity)]
            return detail(found[0]) if found else None
        if identity in self._edits:
            return self._edits[identity]
        mine = [each for each in self.interactions if each["id"] == identity]
        return _recorded(mine[0]) if mine else None

    def _page(self, asked: dict[str, str]) -> Json:
        before, limit = int(asked.get("before", 1 << 60)), int(asked.get("limit", "100"))
        items = [each for each in self.exchanges if each["id"] < before]
        if "q" in asked:
            items = items[-7:]
        some = items[-limit:][::-1]
        ids = [each["id"] for each in self.exchanges]
        return {
            "items": some,
            "next": some[-1]["id"] if len(items) > len(some) else None,
            "newest": max(ids, default=None),
            "oldest": min(ids, default=None),
        }

    def _routes(self) -> list[Json]:
        return [
            _route("forward-openai", "api.openai.com", "replay", {"cassette": 8410, "miss": 2}),
            _route("forward-dynamodb", "dynamodb", self.mode, {"cassette": 6000, "upstream": 4}),
            _route("forward-shop", "api.shop.dev", "cache", {"cache": 11490, "upstream": 720}),
        ]

    def _stores(self) -> list[Json]:
        def store(name: str, n: int) -> Json:
            return {
                "id": name,
                "name": f"{name}.json",
                "kind": "cassette",
                "path": f"cassettes/{name}.json",
                "interactions": n,
                "size_bytes": n * 9000,
                "writable": True,
                "routes": ["forward-dynamodb"],
                "trouble": None,
            }

        return [store("dynamodb", len(self.interactions)), store("api.openai.com", 64)]

    def _found(self, asked: dict[str, str]) -> Json:
        q, begin = asked.get("q", ""), int(asked.get("cursor", "0"))
        fitting = [each for each in self.interactions if q in each["url"] + each["label"]]
        limit = int(asked.get("limit", "100"))
        some = fitting[begin : begin + limit]
        end = begin + len(some)
        excerpt = ['"content": "We give no ', q, ' after 30 days."']
        where = {"found_in": "body", "excerpt": excerpt} if q else {}
        items = [{**each, **where} for each in some]
        following = str(end) if end < len(fitting) else None
        total = len(self.interactions)
        return {"items": items, "next": following, "searched": total, "total": total}

    def _status(self) -> Json:
        return {
            "version": self.version(),
            "counts": self.counts(),
            "listeners": [{"address": "127.0.0.1", "port": 8080, "connections": 1, "accepted": 9}],
            "routes": 3,
            "stores": 2,
            "hit_rate": 0.972,
            "saved": _saved(11_520_000, (1_510_000, 330_000), 14.2),
            "exchanges_kept": len(self.exchanges),
            "watchers": len(self._watchers),
        }

    def change(self, method: str, path: str, given: Json) -> tuple[int, Json | None]:
        match method, path.split("/"):
            case "POST", ["rules"]:
                return 200, self._trial(given)
            case "DELETE", ["rules", _]:
                self.misses = _misses()
                self.tell("changed", {"what": "rules", "id": None})
                return 200, {}
            case "POST", ["record-once"]:
                until = int(time.time() * 1000) + 600_000
                url = "https://api.openai.com"
                return 200, {"route": "forward-openai", "upstream": url, "until_at_ms": until}
            case "POST", ["mode"]:
                self.mode = given["mode"]
                return 200, self._routes()[1]
            case "POST", ["cache", "purge"]:
                return 200, {"purged": 3}
            case "DELETE", ["interactions", identity]:
                self.interactions = [each for each in self.interactions if each["id"] != identity]
                return 204, None
            case "PUT", ["interactions", identity]:
                return self._edit(identity, given)
            case "DELETE", ["misses"]:
                self.misses = []
                return 204, None
        return 404, None

    def _edit(self, identity: str, given: Json) -> tuple[int, Json]:
        if self.refuse_edits:
            problem = "response.status is no status"
            message = "The interaction has a fault."
            error = {"status": 422, "code": "FAULTY", "message": message, "hint": None}
            return 422, {"error": {**error, "problems": [problem]}}
        now = self.get(f"interactions/{identity}", {})
        assert now is not None
        if given.get("check"):
            return 200, now
        summary = {**now["summary"], "id": f"{identity}e"}
        self.interactions = [
            summary if each["id"] == identity else each for each in self.interactions
        ]
        changed = {**now, "summary": summary, "element": given.get("element", now["element"])}
        self._edits[summary["id"]] = changed
        self.tell("changed", {"what": "store", "id": "dynamodb"})
        return 200, changed

    def _trial(self, given: Json) -> Json:
        lines = [
            (" ", 11, "reverse:"),
            (" ", 12, "  - target: https://api.openai.com"),
            (" ", 13, "    cassette: api.openai.com.json  # keep"),
            ("+", 14, "    match:"),
            ("+", 15, "      json:"),
            *(
                ("+", 16 + i, f"        - '{each}'")
                for i, each in enumerate(given["match"]["json"])
            ),
            (" ", 18, "  - target: https://api.anthropic.com"),
        ]
        accepted = None
        if given.get("accept"):
            self.misses = [each for each in self.misses if each["id"] != "m1"]
            now = int(time.time() * 1000)
            accepted = {"id": 1, "route": given["route"], "at_ms": now, "yaml": _YAML}
            accepted["file"] = "buffr.yaml"
            self.tell("changed", {"what": "rules", "id": given["route"]})
            self.tell("counts", self.counts())
        return {
            "route": given["route"],
            "yaml": _YAML,
            "misses": 2,
            "misses_helped": 2,
            "recordings": 212,
            "kept": 212,
            "merged": 0,
            "groups": [],
            "file": "buffr.yaml",
            "diff": [{"kind": kind, "number": at, "text": text} for kind, at, text in lines],
            "accepted": accepted,
        }


def _savings() -> Json:
    model = {
        "model": "gpt-5-mini",
        "provider": "openai",
        "requests": 8412,
        "input_tokens": 1_200_000,
        "output_tokens": 220_000,
        "cached_tokens": 0,
        "usd": 9.8,
    }
    return {
        "total": _saved(11_520_000, (1_510_000, 330_000), 14.2),
        "spent": _saved(900_000, (110_000, 30_000), 1.1),
        "by_route": {
            "forward-openai": _saved(6_420_000, (1_200_000, 220_000), 9.8),
            "forward-dynamodb": _saved(240_000),
        },
        "by_scope": {},
        "models": [model, {**model, "model": "mistral-small", "provider": "mistral", "usd": None}],
        "prices_of": "2026-11-01",
    }


def _limits() -> list[Json]:
    def limit(route: str, used: int, refused: int) -> Json:
        return {
            "route": route,
            "windows": [{"per": "second", "limit": 10, "used": used}],
            "waiting": 0,
            "wait_s": 0.2 if used >= 10 else 0,
            "held_s": 0,
            "refused": refused,
            "last_refused_at_ms": None,
        }

    return [limit("forward-shop", 10, 1), limit("forward-openai", 2, 0)]


def _caches() -> list[Json]:
    now = int(time.time() * 1000)
    return [
        {
            "name": "cache",
            "kind": "sqlite",
            "path": "buffr-data/buffr-cache.db",
            "routes": ["forward-shop"],
            "entries": 8123,
            "size_bytes": 212_000_000,
            "max_bytes": 1_000_000_000,
            "max_entries": None,
            "fresh": 8000,
            "stale": 123,
            "evicted": 0,
            "stored": 8123,
            "oldest_at_ms": now - DAY_MS,
            "newest_at_ms": now,
        }
    ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _send(self, status: int, data: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        if status != HTTPStatus.NO_CONTENT:
            self.wfile.write(data)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        admin = self.server.admin
        if parts.path == "/api/events":
            return self._stream()
        if parts.path.startswith("/api/"):
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            path = unquote(parts.path.removeprefix("/api/"))
            admin.asked.append(("GET", path, asked))
            return self._json(200, admin.get(path, asked))
        name = "index.html" if parts.path == "/" else parts.path.removeprefix("/static/")
        file = STATIC / name
        if not file.is_file():
            return self._send(404, b"")
        return self._send(200, file.read_bytes(), _TYPES.get(file.suffix, "text/plain"))

    def _json(self, status: int, found: Json | None) -> None:
        if status != HTTPStatus.NO_CONTENT and found is None:
            error = {"status": 404, "code": "NOT_FOUND", "message": "It is gone.", "hint": None}
            return self._send(404, json.dumps({"error": error}).encode())
        return self._send(status, json.dumps(found).encode())

    def _change(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(size) or b"{}")
        path = unquote(self.path.removeprefix("/api/"))
        admin = self.server.admin
        admin.asked.append((self.command, path, given))
        if self.headers.get("X-Buffr-Token") != admin.token:
            error = {"status": 401, "code": "TOKEN_NEEDED", "message": "A token is needed."}
            return self._send(401, json.dumps({"error": {**error, "hint": None}}).encode())
        return self._json(*admin.change(self.command, path, given))

    do_POST = do_PUT = do_DELETE = _change

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        events = self.server.admin.watch()
        try:
            for event in events:
                if self.server.stopping.is_set():
                    return
                self.wfile.write(event.encode())
                self.wfile.flush()
        except OSError:
            pass
        finally:
            events.close()  # type: ignore[attr-defined]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, admin: FakeAdmin) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.admin = admin
        self.stopping = threading.Event()


@contextmanager
def fake_admin() -> Iterator[FakeAdmin]:
    admin = FakeAdmin()
    server = _Server(admin)
    admin.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield admin
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
