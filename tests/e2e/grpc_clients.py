"""Other clients of gRPC than grpcio's blocking one: its asyncio, and @grpc/grpc-js.

Each is a program that makes the same calls of ``a.B`` (``test_grpc.Service``)
at a port, and prints what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from forward_bench import NO_PARENTS
from node_packages import node_packages

__all__ = ["CLIENTS", "SEEN"]

_PATIENCE_S = 120

SEEN: dict[str, Any] = {
    "Echo": ["echo:hello", "1", "2"],
    "Collect": "a|b|c",
    "Repeat": ["0:r", "1:r", "2:r"],
    "Talk": ["heard 0", "heard 1", "heard 2"],
    "Fail": [8, "too much of it: 100 %"],
    "Unknown": 12,
}
"""What each of them sees. ``Talk`` waits for each answer before it goes on."""

_AIO = """
import asyncio, json, sys
import grpc

async def main():
    seen = {}
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel("127.0.0.1:" + sys.argv[1], options=options) as channel:
        call = channel.unary_unary("/a.B/Echo")(b"hello", metadata=(("x-meta", "m"),), timeout=60)
        first, answer = dict(await call.initial_metadata()), await call
        last = dict(await call.trailing_metadata())
        seen["Echo"] = [answer.decode(), first["x-first"], last["x-last"]]

        async def abc():
            for one in (b"a", b"b", b"c"):
                yield one

        collect = channel.stream_unary("/a.B/Collect")
        seen["Collect"] = (await collect(abc(), timeout=60)).decode()
        repeat = channel.unary_stream("/a.B/Repeat")(b"r", timeout=60)
        seen["Repeat"] = [one.decode() async for one in repeat]
        talk = channel.stream_stream("/a.B/Talk")(timeout=60)
        seen["Talk"] = []
        for number in range(3):
            await talk.write(b"%d" % number)
            seen["Talk"].append((await talk.read()).decode())
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF
        for name in ("Fail", "Unknown"):
            try:
                await channel.unary_unary("/a.B/" + name)(b"x", timeout=60)
            except grpc.aio.AioRpcError as error:
                code = error.code().value[0]
                seen[name] = [code, error.details()] if name == "Fail" else code
    print(json.dumps(seen))

asyncio.run(main())
"""

_JS = """
const grpc = require("@grpc/grpc-js");
const client = new grpc.Client("127.0.0.1:" + process.argv[1],
  grpc.credentials.createInsecure(), {"grpc.enable_http_proxy": 0});
const same = (bytes) => bytes, name = (method) => ["/a.B/" + method, same, same];
const deadline = () => ({deadline: Date.now() + 60000});
const unary = (method, text, meta = new grpc.Metadata()) => new Promise((done, fail) => {
  let first, answer;
  const call = client.makeUnaryRequest(...name(method), Buffer.from(text), meta, deadline(),
    (error, value) => { if (error) fail(error); else answer = value; });
  call.on("metadata", (fields) => { first = fields.get("x-first")[0]; });
  call.on("status", (status) => {
    if (status.code === 0) setImmediate(
      () => done([answer.toString(), first, status.metadata.get("x-last")[0]]));
  });
});
const failing = (method) => unary(method, "x").then(() => null, (error) => error);
const all = (call) => new Promise((done, fail) => {
  const seen = [];
  call.on("data", (bytes) => seen.push(bytes.toString()));
  call.on("end", () => done(seen));
  call.on("error", fail);
});
const collect = () => new Promise((done, fail) => {
  const call = client.makeClientStreamRequest(...name("Collect"), new grpc.Metadata(), deadline(),
    (error, value) => error ? fail(error) : done(value.toString()));
  for (const text of ["a", "b", "c"]) call.write(Buffer.from(text));
  call.end();
});
const talk = () => {
  const call = client.makeBidiStreamRequest(...name("Talk"), new grpc.Metadata(), deadline());
  let number = 0;
  const next = () => number < 3 ? call.write(Buffer.from(String(number++))) : call.end();
  call.on("data", next);
  next();
  return all(call);
};
(async () => {
  const meta = new grpc.Metadata();
  meta.set("x-meta", "m");
  const seen = {Echo: await unary("Echo", "hello", meta), Collect: await collect()};
  seen.Repeat = await all(client.makeServerStreamRequest(
    ...name("Repeat"), Buffer.from("r"), new grpc.Metadata(), deadline()));
  seen.Talk = await talk();
  const failed = await failing("Fail");
  seen.Fail = [failed.code, failed.details];
  seen.Unknown = (await failing("Unknown")).code;
  client.close();
  console.log(JSON.stringify(seen));
})();
"""


def _told(*command: str, **environment: str) -> Any:
    """What a program prints. Raises ``AssertionError`` with its words if it fails."""
    done = subprocess.run(
        command,
        env={**NO_PARENTS, "PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
    return json.loads(done.stdout)


def aio(port: int) -> Any:
    return _told(sys.executable, "-W", "ignore", "-c", _AIO, str(port))


def grpc_js(port: int) -> Any:
    modules = node_packages() / "node_modules"
    return _told("node", "--eval", _JS, "--", str(port), NODE_PATH=str(modules))


CLIENTS: tuple[Callable[[int], Any], ...] = (aio, grpc_js)
