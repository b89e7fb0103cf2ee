"""Interactions for the tests of drift."""

from __future__ import annotations

import json
from typing import Any

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead

JSON = ((b"Content-Type", b"application/json"),)
EVENTS = ((b"Content-Type", b"text/event-stream"),)


def exchange(
    body: Any = b"",
    *,
    status: int = 200,
    headers: Headers = JSON,
    request: RecordedRequest | None = None,
    trailers: Headers = (),
) -> HTTPInteraction:
    """An exchange whose answer has this body, JSON if it is not bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HTTPInteraction(
        request or RecordedRequest(b"GET", b"/"),
        ResponseHead(status, b"OK", headers),
        Body.of(data),
        trailers=trailers,
        recorded_at="2026-11-21T22:02:42Z",
    )


def events(*each: tuple[str, Any]) -> HTTPInteraction:
    """An exchange whose answer is a stream of these named events; JSON, or text as it is."""
    lines = []
    for name, data in each:
        text = data if isinstance(data, str) else json.dumps(data)
        lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
    return exchange("".join(lines).encode(), headers=EVENTS)
