"""An API in three versions, with identifiers and times that are new in every answer."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any, Literal

from attrs import define, field

from buffr.testing import Received, Step, answer, chunked

__all__ = ["TOKEN", "DriftingAPI", "Version"]

Version = Literal["same", "additive", "breaking"]

TOKEN = b"Bearer sk-0123456789abcdefghijklmn"
"""The credential without which it says 401."""

_JSON = (b"Content-Type", b"application/json")
_EVENTS = (b"Content-Type", b"text/event-stream")


def _json(value: Any, status: bytes = b"200 OK", *more: tuple[bytes, bytes]) -> bytes:
    return answer(json.dumps(value).encode(), status, [_JSON, *more])


def _counter() -> int:
    """A number that means nothing, and looks like nothing in particular."""
    return random.randrange(10**5, 10**6)


@define(eq=False)
class DriftingAPI:
    """The script of a ``FakeUpstream``. ``version`` may change at any time.

    ``token`` is the credential that it wants.
    """

    version: Version = "same"
    token: bytes = TOKEN
    _things: dict[str, str] = field(init=False, factory=dict)
    _numbers: Iterator[int] = field(init=False, factory=lambda: count(1000))
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def skip(self, many: int) -> None:
        """Let it give no more of the identifiers that it gave so far."""
        self._numbers = count(1000 + many)

    def __call__(self, request: Received) -> bytes | Iterator[Step]:
        if request.header(b"Authorization") != self.token:
            return _json({"error": "who are you?"}, b"401 Unauthorized")
        path = request.target.decode().partition("?")[0]
        match request.method, path:
            case b"GET", "/v1/items":
                return _json({"items": self._items(), "next": None, "took": _counter()})
            case b"GET", "/v1/packed":
                return self._packed()
            case b"GET", "/v1/events":
                return self._events()
            case b"POST", "/v1/things":
                return self._create()
            case _, _ if path.startswith("/v1/things/"):
                return self._thing(request.method, path.removeprefix("/v1/things/"))
        return _json({"error": "no such path"}, b"404 Not Found")

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = [
            {
                "id": str(uuid.uuid4()),
                "name": name,
                "status": "active",
                "updated_at": time.time(),
                "reads": _counter(),
            }
            for name in ("a first one", "a second one")
        ]
        if self.version == "additive":
            items = [{**item, "colour": "red"} for item in items]
            items[1]["status"] = "archived"
        if self.version == "breaking":
            items = [{**item, "reads": str(item["reads"])} for item in items]
            for item in items:
                del item["name"]
        return items

    def _packed(self) -> bytes:
        value = {"items": self._items()}
        body = gzip.compress(json.dumps(value).encode())
        return answer(body, headers=[_JSON, (b"Content-Encoding", b"gzip")])

    def _events(self) -> Iterator[Step]:
        start = {"type": "start", "id": str(uuid.uuid4())}
        deltas = [{"type": "delta", "text": text} for text in ("one", "two")]
        events = [start, *deltas, {"type": "stop", "reason": "end"}]
        if self.version == "additive":
            events.insert(1, {"type": "ping"})
        if self.version == "breaking":
            events.pop()
        chunks = [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]
        return chunked(chunks, [_EVENTS], trailers=[(b"X-Sum", b"1")])

    def _create(self) -> bytes:
        with self._lock:
            name = f"thing-{next(self._numbers)}"
            self._things[name] = secret = f"tok_{uuid.uuid4().hex}"
        told = {"id": name, "access_token": secret}
        return _json(told, b"201 Created", (b"Location", f"/v1/things/{name}".encode()))

    def _thing(self, method: bytes, name: str) -> bytes:
        if name not in self._things:
            return _json({"error": f"there is no {name}"}, b"404 Not Found")
        if method == b"DELETE":
            del self._things[name]
            return answer(b"", b"204 No Content")
        return _json({"id": name, "kind": "thing"})
