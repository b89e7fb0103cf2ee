"""``buffr demo``: see it work on this machine alone.

A sample upstream answers a chat, a streamed chat and a download. buffr
records them; the upstream is stopped; buffr replays them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen
from treq.client import HTTPClient
from twisted.internet.task import react
from twisted.web.http_headers import Headers

from buffr.commands.parser import Parser
from buffr.commands.terminal import Paint, paint_for
from buffr.config import load
from buffr.origin import Origin
from buffr.testing import FakeUpstream, Received, Step, answer, chunked
from buffr.upstream.agent import UpstreamAgent
from buffr.upstream.connection import Patience
from buffr.upstream.endpoints import plain_endpoint
from buffr.upstream.pool import Pool, PoolLimits
from buffr.upstream.upstream import Upstream
from buffr.wire.http1_answer_heads import AnswerRules
from buffr.wiring.build import build

__all__ = ["declare", "run", "upstream_of"]

_WORDS = ("A ", "proxy ", "that ", "remembers ", "is ", "a ", "test's ", "best ", "friend.")
_THINKING_S = 0.4
_WORD_S = 0.08


def _script(request: Received) -> bytes | Iterator[Step]:
    if request.target == b"/v1/files/voice.mp3":
        return answer(bytes(range(256)) * 2048, headers=[(b"Content-Type", b"audio/mpeg")])
    if b'"stream": true' in request.body:
        return _stream()
    return _chat()


def _chat() -> Iterator[Step]:
    yield _THINKING_S
    message = {"role": "assistant", "content": "".join(_WORDS)}
    body = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    yield answer(json.dumps(body).encode(), headers=[(b"Content-Type", b"application/json")])


def _stream() -> Iterator[Step]:
    events = [json.dumps({"choices": [{"delta": {"content": word}}]}) for word in _WORDS]
    chunks = [f"data: {event}\n\n".encode() for event in [*events, "[DONE]"]]
    return chunked(chunks, [(b"Content-Type", b"text/event-stream")], delay_s=_WORD_S)


@frozen
class _Call:
    """One request of the demo."""

    title: str
    method: str
    path: str
    body: dict[str, Any] | None = None


_QUESTION = [{"role": "user", "content": "What is a proxy that remembers?"}]
_CALLS = (
    _Call(
        "chat completion",
        "POST",
        "/v1/chat/completions",
        {"model": "sample", "messages": _QUESTION},
    ),
    _Call(
        "streamed chat (SSE)",
        "POST",
        "/v1/chat/completions",
        {"model": "sample", "stream": True, "messages": _QUESTION},
    ),
    _Call("download, 512 KiB", "GET", "/v1/files/voice.mp3"),
)


def declare(parser: Parser) -> None:
    """Describe the arguments: there are none."""
    parser.describe(
        "Shows how buffr works, on this machine alone: records a chat, a streamed chat and a "
        "download from a sample upstream, stops it, and replays them. Exits with 1 if an answer "
        "differs.",
        examples=(("buffr demo", "takes a few seconds"),),
    )


def run(_: argparse.Namespace) -> int:
    """Run the demo; the process's exit code."""
    outcome: list[bool | OSError] = []

    async def show(reactor: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # there is nothing to end in order
        try:
            outcome.append(await _run(reactor, sys.stdout))
        except OSError as error:  # not for the reactor to tell of
            outcome.append(error)

    with suppress(SystemExit):
        react(show)
    for error in outcome:
        if isinstance(error, OSError):
            raise error
    return 0 if outcome == [True] else 1


async def _run(reactor: Any, out: TextIO) -> bool:
    paint = paint_for(out, os.environ)
    directory = Path(tempfile.mkdtemp(prefix="buffr-demo-"))
    cassette = directory / "sample.json"
    with FakeUpstream(_script) as upstream:
        out.write(f"A sample upstream on {upstream.url} answers; buffr records ...\n")
        recorded = await _session(reactor, "auto", upstream.url, cassette)
        asked = len(upstream.received)
        out.write("The upstream is stopped; buffr replays ...\n\n")
    replayed = await _session(reactor, "replay", upstream.url, cassette)
    same = [first.body == second.body for first, second in zip(recorded, replayed, strict=True)]
    _print_table(out, paint, recorded, replayed, same)
    untouched = len(upstream.received) == asked
    out.write(f"\nThe cassette, for people to read and to commit: {cassette}\n")
    return all(same) and untouched


@frozen
class _Taken:
    """A body, and the seconds that it took to come."""

    body: bytes
    seconds: float


async def _session(reactor: Any, mode: str, target: str, cassette: Path) -> list[_Taken]:
    """Make the calls through a buffr of their own."""
    flags = {
        "mode": mode,
        "target": target,
        "port": "0",
        "cassette": str(cassette),
        "data_dir": str(cassette.parent),
    }
    service = build(load(None, {}, flags), reactor, on_console=False)
    service.startService()
    agent = UpstreamAgent(lambda origin: upstream_of(reactor, origin))
    client = HTTPClient(agent)
    try:
        base = f"http://127.0.0.1:{service.listeners[0].port}"
        return [await _make(client, base, call) for call in _CALLS]
    finally:
        agent.close()
        await service.stopService()


def upstream_of(reactor: Any, origin: Origin) -> Upstream:
    """An upstream for plain HTTP, without a proxy in between."""
    patience = Patience()
    endpoint = plain_endpoint(reactor, origin.host, origin.port, patience.connect_s)
    pool = Pool(reactor, endpoint, AnswerRules(), patience, PoolLimits(), tls=False)
    return Upstream(origin, pool)


async def _make(client: HTTPClient, base: str, call: _Call) -> _Taken:
    started = time.perf_counter()
    data = None if call.body is None else json.dumps(call.body).encode()
    headers = Headers({"Authorization": ["Bearer sk-sample-key-that-stays-out-of-the-cassette"]})
    response = await client.request(call.method, base + call.path, headers=headers, data=data)
    body = await response.content()
    return _Taken(body, time.perf_counter() - started)


def _print_table(
    out: TextIO,
    paint: Paint,
    recorded: Sequence[_Taken],
    replayed: Sequence[_Taken],
    same: Sequence[bool],
) -> None:
    out.write(paint("1", f"{'request':<22}{'recorded':>11}{'replayed':>11}   bytes\n"))
    for call, first, second, equal in zip(_CALLS, recorded, replayed, same, strict=True):
        verdict = paint("32", "the same") if equal else paint("31", "DIFFERENT")
        out.write(
            f"{call.title:<22}{first.seconds * 1000:>8.0f} ms"
            f"{paint('32', f'{second.seconds * 1000:>8.1f} ms')}   {verdict}\n"
        )
