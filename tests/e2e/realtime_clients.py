"""WebSocket clients that all have the same conversation, with and without a proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import openai
import websocket
import websockets
from attrs import field, frozen
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect

__all__ = ["CLIENTS", "SECRETS", "SUBPROTOCOLS", "Heard", "Way", "words"]

SECRETS = {
    "query": "sk-proj-in-the-query-0123456789abcdefghijklmnopqrstuvwx",
    "subprotocol": "sk-proj-in-the-subprotocol-0123456789abcdefghijklmnopq",
    "frame": "sk-proj-in-the-frame-0123456789abcdefghijklmnopqrstuvwx",
    "header": "sk-proj-in-the-header-0123456789abcdefghijklmnopqrstuvw",
}
SUBPROTOCOLS = ["realtime", f"openai-insecure-api-key.{SECRETS['subprotocol']}"]
_BEARER = f"Bearer {SECRETS['header']}"
_CODE, _REASON = 4001, "so long"
_AUDIO = bytes(range(256))


@frozen
class Way:
    """How a client reaches the API: a URL up to the path, and a proxy and its CA if it has one."""

    base: str
    proxy: str | None = None
    ca: Path | None = None

    def url(self, client: str) -> str:
        return f"{self.base}/v1/realtime?client={client}&api_key={SECRETS['query']}"

    @property
    def proxy_port(self) -> int:
        assert self.proxy is not None
        return int(self.proxy.rpartition(":")[2])

    @property
    def tls(self) -> ssl.SSLContext | None:
        return None if self.ca is None else ssl.create_default_context(cafile=self.ca)


@frozen
class Heard:
    """What a client was told, and how it was closed. Event ids of its own are ``MINE``."""

    messages: tuple[str | bytes, ...] = field(repr=False)
    code: int | None
    reason: str | None

    @classmethod
    def of(
        cls, own: str, messages: Sequence[str | bytes], code: int | None, reason: str | None
    ) -> Heard:
        kept = [one.replace(own, "MINE") if isinstance(one, str) else one for one in messages]
        return cls(tuple(kept), code, reason)


def words(own: str) -> list[str | bytes]:
    """What a client says; to some of it there is an answer."""
    return [
        json.dumps(
            {"type": "session.update", "event_id": own, "session": {"api_key": SECRETS["frame"]}}
        ),
        json.dumps({"type": "input_audio_buffer.append", "audio": _base64(_AUDIO)}),
        _AUDIO,
        json.dumps({"type": "response.create"}),
        json.dumps({"type": "bye", "code": _CODE, "reason": _REASON}),
    ]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _event_id() -> str:
    return f"evt_{uuid4().hex[:12]}"


def _websockets(way: Way) -> Heard:
    own, heard = _event_id(), list[str | bytes]()
    options: dict[str, Any] = {"subprotocols": SUBPROTOCOLS}
    options["additional_headers"] = {"Authorization": _BEARER}
    with connect(
        way.url("websockets"), proxy=way.proxy, ssl=way.tls, max_size=None, **options
    ) as client:
        heard.append(client.recv(120))
        for word in words(own):
            client.send(word)
        with suppress(websockets.ConnectionClosed):
            while True:
                heard.append(client.recv(120))
        return Heard.of(own, heard, client.close_code, client.close_reason)


def _websockets_async(way: Way) -> Heard:
    async def talk() -> Heard:
        own, heard = _event_id(), list[str | bytes]()
        url = way.url("websockets-asyncio")
        async with connect_async(url, proxy=way.proxy, ssl=way.tls, max_size=None) as client:
            for word in words(own):
                await client.send(word)
            with suppress(websockets.ConnectionClosed):
                while True:
                    heard.append(await client.recv())
            return Heard.of(own, heard, client.close_code, client.close_reason)

    return asyncio.run(talk())


def _websocket_client(way: Way) -> Heard:
    own, heard = _event_id(), list[str | bytes]()
    proxy: dict[str, Any] = {}
    if way.proxy is not None:
        proxy = {"http_proxy_host": "127.0.0.1", "http_proxy_port": way.proxy_port}
        proxy["proxy_type"] = "http"
    client = websocket.create_connection(
        way.url("websocket-client"),
        timeout=120,
        header={"Authorization": _BEARER},
        subprotocols=SUBPROTOCOLS,
        sslopt={} if way.ca is None else {"ca_certs": str(way.ca)},
        **proxy,
    )
    heard.append(client.recv())
    for word in words(own):
        client.send(
            word,
            websocket.ABNF.OPCODE_TEXT if isinstance(word, str) else websocket.ABNF.OPCODE_BINARY,
        )
    while True:
        opcode, data = client.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            client.shutdown()
            return Heard.of(own, heard, int.from_bytes(data[:2], "big"), data[2:].decode())
        heard.append(data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data)


def _aiohttp(way: Way) -> Heard:
    async def talk() -> Heard:
        own, heard = _event_id(), list[str | bytes]()
        async with (
            aiohttp.ClientSession(headers={"Authorization": _BEARER}) as session,
            session.ws_connect(
                way.url("aiohttp"),
                proxy=way.proxy,
                ssl=way.tls or True,
                compress=15,
                protocols=SUBPROTOCOLS,
            ) as client,
        ):
            for word in words(own):
                await (client.send_str(word) if isinstance(word, str) else client.send_bytes(word))
            reason = None
            while True:
                message = await client.receive(10)
                if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                    heard.append(message.data)
                    continue
                if message.type is aiohttp.WSMsgType.CLOSE:
                    reason = message.extra
                return Heard.of(own, heard, client.close_code, reason)

    return asyncio.run(talk())


def _openai(way: Way) -> Heard:
    async def talk() -> Heard:
        own, heard = _event_id(), list[bytes]()
        client = openai.AsyncOpenAI(
            api_key=SECRETS["header"],
            base_url="http://none.test",
            websocket_base_url=f"{way.base}/v1",
        )
        options: dict[str, Any] = {"proxy": way.proxy, "max_size": None}
        if way.tls is not None:
            options["ssl"] = way.tls
        async with client.realtime.connect(
            model="gpt-realtime",
            websocket_connection_options=options,  # type: ignore[arg-type]
        ) as connection:
            for word in words(own):
                if isinstance(word, str):
                    await connection.send(json.loads(word))
            code = reason = None
            while code is None:
                try:
                    heard.append(await connection.recv_bytes())
                except websockets.ConnectionClosedError as closed:
                    if closed.rcvd is None:
                        raise
                    code, reason = closed.rcvd.code, closed.rcvd.reason
        await client.close()
        texts = [one.decode() if one[:1] == b"{" else one for one in heard]
        return Heard.of(own, texts, code, reason)

    return asyncio.run(talk())


_NODE = """
const http = require("node:http"), tls = require("node:tls"), https = require("node:https");
const WebSocket = require("ws");
const [url, proxy, protocols, words, bearer] = process.argv.slice(1).map((one) => JSON.parse(one));
const secure = url.startsWith("wss:");
class Tunnels extends (secure ? https : http).Agent {
  createConnection(options, done) {
    const to = new URL(proxy), path = `${options.host}:${options.port}`;
    http.request({host: to.hostname, port: to.port, method: "CONNECT", path, agent: false})
      .on("connect", (answer, socket) => {
        if (answer.statusCode !== 200) return done(new Error(`CONNECT: ${answer.statusCode}`));
        done(null, secure ? tls.connect({socket, servername: options.host}) : socket);
      }).on("error", done).end();
  }
}
const headers = {authorization: bearer};
const options = proxy === null ? {headers} : {headers, agent: new Tunnels()};
if (proxy !== null) options.createConnection = undefined;
const client = new WebSocket(url, protocols, options);
const heard = [];
client.on("open", () => {
  for (const [text, word] of words) client.send(text ? word : Buffer.from(word, "base64"));
});
client.on("message", (data, binary) => {
  heard.push([!binary, data.toString(binary ? "base64" : "utf8")]);
});
client.on("error", (error) => { console.error(error); process.exitCode = 1; });
client.on("close", (code, reason) => {
  process.stdout.write(JSON.stringify({heard, code, reason: reason.toString()}));
});
"""


def _node_ws(way: Way) -> Heard:
    own = _event_id()
    said = [(True, one) if isinstance(one, str) else (False, _base64(one)) for one in words(own)]
    arguments = [way.url("node"), way.proxy, SUBPROTOCOLS, said, _BEARER]
    env = dict(os.environ)
    if way.ca is not None:
        env["NODE_EXTRA_CA_CERTS"] = str(way.ca)
    command = ["node", "--eval", _NODE, "--", *map(json.dumps, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    heard = [one if text else base64.b64decode(one) for text, one in found["heard"]]
    return Heard.of(own, heard, found["code"], found["reason"])


def _node_misses_ws() -> str:
    if shutil.which("node") is None:
        return "node is not on this machine"
    looking = ["node", "--eval", 'require.resolve("ws")']
    found = subprocess.run(looking, capture_output=True, check=False).returncode == 0
    return "" if found else "node has no ws (NODE_PATH could say where it is)"


def _nothing() -> str:
    return ""


CLIENTS: dict[str, tuple[Callable[[Way], Heard], Callable[[], str]]] = {
    "websockets": (_websockets, _nothing),
    "websockets-asyncio": (_websockets_async, _nothing),
    "websocket-client": (_websocket_client, _nothing),
    "aiohttp": (_aiohttp, _nothing),
    "openai": (_openai, _nothing),
    "node-ws": (_node_ws, _node_misses_ws),
}
"""What each client hears, and what it is missing here, if anything is."""
