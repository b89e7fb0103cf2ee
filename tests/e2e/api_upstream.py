"""An upstream that answers as the APIs of OpenAI and Anthropic do, each time a little differently.

Each answer bears the number of the request that it answers, so that a replay
is told from a second fetch.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

from attrs import define, field

from buffr.testing import Received, Step, answer, chunked

__all__ = ["LARGE", "SECRETS", "APIUpstream"]

SECRETS = {
    "bearer": "sk-proj-0123456789abcdefghijklmnop",
    "x-api-key": "sk-ant-api03-zyxwvutsrqponmlkjihg",
    "query": "AIzaSyQUERYkey0123456789abcdefg",
    "cookie": "session-0a1b2c3d4e5f60718293a4b5",
    "set-cookie": "cf-9f8e7d6c5b4a39281706f5e4d3c2b1a0",
}
"""What must never reach a disk; the last one is the upstream's own."""

LARGE = bytes(range(256)) * 20_480
"""Five megabytes that are no text."""

_TEXT = "Grüße, 世界! The answer is forty-two 🦊."
_WORDS = ("Grü", "ße, 世", "界! ", "forty-two ", "🦊")


@define
class APIUpstream:
    """A script for ``FakeUpstream``."""

    _numbers: Iterator[int] = field(factory=lambda: count(1))

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        number = next(self._numbers)
        headers = [
            (b"Date", b"Sat, 21 Nov 2026 22:02:%02d GMT" % (number % 60)),
            (b"x-request-id", b"req_%d" % number),
            (b"Set-Cookie", b"__cf_bm=%b; path=/; HttpOnly" % SECRETS["set-cookie"].encode()),
            (b"set-cookie", b"lang=de; Max-Age=60"),
            (b"OpenAI-Processing-Ms", b"%d" % number),
        ]
        path = received.target.partition(b"?")[0].decode()
        wants_stream = b'"stream":true' in received.body.replace(b": ", b":")
        match path:
            case "/v1/chat/completions" if wants_stream:
                return _events(_chat_chunks(number), headers)
            case "/v1/chat/completions":
                return _json(_chat(number), headers)
            case "/v1/messages" if wants_stream:
                return _events(_message_events(number), headers)
            case "/v1/messages":
                return _json(_message(number), headers)
            case "/v1/embeddings":
                return _json(_embedding(number), headers)
            case "/v1/audio/speech" | "/large":
                kind = (b"Content-Type", b"audio/mpeg")
                return answer(LARGE + b"%d" % number, headers=[*headers, kind])
            case "/v1/files" | "/upload":
                return _json(_file(number, received), headers)
            case "/gzip":
                return _gzipped({"number": number, "text": _TEXT}, headers)
            case "/ndjson":
                lines = [json.dumps({"n": n, "of": number}).encode() + b"\n" for n in range(5)]
                return chunked(lines, [*headers, (b"Content-Type", b"application/x-ndjson")])
        return answer(b"no such path", b"404 Not Found")


Fields = list[tuple[bytes, bytes]]


def _json(body: dict[str, Any], headers: Fields) -> bytes:
    kind = (b"Content-Type", b"application/json")
    return answer(json.dumps(body, ensure_ascii=False).encode(), headers=[*headers, kind])


def _gzipped(body: dict[str, Any], headers: Fields) -> bytes:
    kind = [(b"Content-Type", b"application/json"), (b"Content-Encoding", b"gzip")]
    return answer(gzip.compress(json.dumps(body).encode()), headers=[*headers, *kind])


def _events(events: list[tuple[str, str]], headers: Fields) -> Iterator[Step]:
    kind = (b"Content-Type", b"text/event-stream; charset=utf-8")
    parts = [
        (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()
        for name, data in events
    ]
    return chunked(parts, [*headers, kind], delay_s=0.005)


def _chat(number: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": _TEXT, "refusal": None}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-x",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }


def _chat_chunks(number: int) -> list[tuple[str, str]]:
    def chunk(delta: dict[str, Any], reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        body = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "gpt-x",
            "choices": [choice],
        }
        return json.dumps(body, ensure_ascii=False)

    chunks = [chunk({"content": word}, None) for word in _WORDS]
    return [("", text) for text in [*chunks, chunk({}, "stop"), "[DONE]"]]


def _message(number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": _TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 12},
    }


def _message_events(number: int) -> list[tuple[str, str]]:
    start = {**_message(number), "content": [], "stop_reason": None}
    deltas = [{"type": "text_delta", "text": word} for word in _WORDS]
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    bodies: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    return [(body["type"], json.dumps(body, ensure_ascii=False)) for body in bodies]


def _embedding(number: int) -> dict[str, Any]:
    vector = base64.b64encode(struct.pack("<4f", 0.25, -0.5, 1.0, number)).decode()
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "text-embedding-x",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def _file(number: int, received: Received) -> dict[str, Any]:
    return {
        "id": f"file-{number}",
        "object": "file",
        "bytes": len(received.body),
        "created_at": 1_700_000_000,
        "filename": "data.bin",
        "purpose": "assistants",
        "status": "processed",
    }
