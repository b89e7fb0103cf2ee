"""A server and a client of the Model Context Protocol, by the official Python SDK.

``peer.py serve PORT-FILE`` serves streamable HTTP, ``peer.py stdio`` serves its standard
streams. ``peer.py talk MODE URL``, or ``peer.py talk MODE -- COMMAND``, holds a
conversation and prints what the client saw, as JSON. ``talk`` with a number of
times does so again and again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import uvicorn
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import CreateMessageResult, SamplingMessage, TextContent

warnings.simplefilter("ignore")

server = MCPServer("peer", instructions="a server for tests")


@server.tool()
def add(a: int, b: int) -> int:
    """Add, and make the answer different each time it is asked for."""
    return a + b + 1000 * random.randrange(1, 10**6)


@server.tool()
async def count(to: int, ctx: Context[Any, Any]) -> str:
    """Report progress."""
    for number in range(to):
        await ctx.report_progress(number, to, f"at {number}")
        await asyncio.sleep(0.02)
    return f"counted to {to}: {random.random()}"


@server.tool()
async def ask(question: str, ctx: Context[Any, Any]) -> str:
    """Have the client's model answer: a request of the server's own."""
    said = SamplingMessage(role="user", content=TextContent(type="text", text=question))
    found = await ctx.session.create_message(
        messages=[said], max_tokens=10, related_request_id=ctx.request_id
    )
    content = found.content
    text = content.text if isinstance(content, TextContent) else ""
    return f"the client says {text} {random.random()}"


@server.tool()
async def poll(ctx: Context[Any, Any]) -> str:
    """Close the stream of this call; the client resumes it."""
    await ctx.report_progress(1, 2, "before the cut")
    await ctx.close_sse_stream()
    # Before the client is there again: a message that comes just as it resumes is lost by the SDK.
    await ctx.report_progress(2, 2, "after the cut")
    return f"resumed {random.random()}"


@server.tool()
async def grow(ctx: Context[Any, Any]) -> str:
    """Tell on the standing stream that the list of tools has changed."""
    await ctx.session.send_tool_list_changed()
    return "told"


class Events(EventStore):
    """What was sent, for streams that are resumed."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._sent.append((stream_id, message))
        return f"event-{len(self._sent)}"

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        at = int(last_event_id.removeprefix("event-"))
        stream = self._sent[at - 1][0]
        for number, (other, message) in enumerate(self._sent[at:], at + 1):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, f"event-{number}"))
        return stream


def serve(port_file: Path) -> None:
    app = server.streamable_http_app(event_store=Events(), retry_interval=150)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port_file.write_text(str(listening.getsockname()[1]))
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run([listening])


async def _answer(context: Any, params: Any) -> CreateMessageResult:
    text = params.messages[0].content.text
    content = TextContent(type="text", text=f"yes to {text}")
    return CreateMessageResult(role="assistant", content=content, model="m", stop_reason="endTurn")


async def conversation(mode: str, where: str | StdioServerParameters) -> list[Any]:
    """What a client saw."""
    seen: list[Any] = []
    changed = asyncio.Event()
    logging.disable()

    async def news(message: Any) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            changed.set()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(["progress", progress, total, message])

    legacy = mode == "legacy"
    over_http = isinstance(where, str)
    async with Client(
        where,
        mode=mode,
        sampling_callback=_answer if legacy else None,
        message_handler=news,
        cache=None,
    ) as client:
        assert client.server_info is not None
        seen.append(client.server_info.name)
        seen.append([tool.name for tool in (await client.list_tools()).tools])
        seen += [_text(await client.call_tool("add", {"a": 1, "b": 2})) for _ in range(2)]
        seen.append(_text(await client.call_tool("count", {"to": 3}, progress_callback=note)))
        if legacy:
            seen.append(_text(await client.call_tool("ask", {"question": "tea"})))
            seen.append(_text(await client.call_tool("grow", {})))
            await asyncio.wait_for(changed.wait(), 30)
        if legacy and over_http:
            seen.append(_text(await client.call_tool("poll", {}, progress_callback=note)))
        both = [client.call_tool("add", {"a": n, "b": n}) for n in (3, 4)]
        seen += map(_text, await asyncio.gather(*both))
    return seen


def _text(result: Any) -> str:
    (content,) = result.content
    assert not result.is_error, content.text
    return str(content.text)


def main(words: list[str]) -> None:
    match words:
        case ["serve", port_file]:
            serve(Path(port_file))
        case ["stdio"]:
            server.run("stdio")
        case ["talk", mode, times, "--", command, *arguments]:
            where = StdioServerParameters(command=command, args=arguments)
            _talk(mode, int(times), where)
        case ["talk", mode, times, url]:
            _talk(mode, int(times), url)


def _talk(mode: str, times: int, where: str | StdioServerParameters) -> None:
    for _ in range(times):
        sys.stdout.write(json.dumps(asyncio.run(conversation(mode, where))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
