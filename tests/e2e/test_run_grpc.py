"""gRPC clients under ``buffr run``, with nothing but its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from commands import BUFFR
from forward_bench import NO_PARENTS, origins_authority
from node_packages import node_packages
from test_grpc import Server

_PATIENCE_S = 120
_GRPCIO = """
import sys, grpc
with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/a.B/Echo")(b"hello", timeout=60).decode())
    print([one.decode() for one in channel.unary_stream("/a.B/Repeat")(b"r", timeout=60)])
"""
_GRPC_JS = """
const grpc = require("@grpc/grpc-js");
const client = new grpc.Client(process.argv[1], grpc.credentials.createSsl());
const same = [(one) => one, (one) => one];
client.makeUnaryRequest("/a.B/Echo", ...same, Buffer.from("hello"), (error, answer) => {
  if (error) throw error;
  console.log(answer.toString());
  const seen = [];
  client.makeServerStreamRequest("/a.B/Repeat", ...same, Buffer.from("r"))
    .on("data", (one) => seen.push(one.toString()))
    .on("end", () => { console.log(JSON.stringify(seen)); client.close(); });
});
"""


def _command(name: str, address: str) -> tuple[str, ...]:
    if name == "grpcio":
        return (sys.executable, "-W", "ignore", "-c", _GRPCIO, address)
    return ("node", "--eval", _GRPC_JS, "--", address)


def _credentials() -> Any:
    leaf = origins_authority().issue_cert("localhost")
    chain = b"".join(one.bytes() for one in leaf.cert_chain_pems)
    return grpc.ssl_server_credentials(((leaf.private_key_pem.bytes(), chain),))


def _ran(directory: Path, command: tuple[str, ...], *words: str) -> tuple[list[str], Any]:
    """What a command prints under buffr, and buffr's counts."""
    modules = str(node_packages() / "node_modules") if command[0] == "node" else ""
    done = subprocess.run(
        [*BUFFR, "run", *words, "--cassette", "c.json", "--report", "r.json", "--", *command],
        cwd=directory,
        env={**NO_PARENTS, "PATH": os.environ["PATH"], "NODE_PATH": modules},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads((directory / "r.json").read_text())["counts"]
    return done.stdout.splitlines(), counts


@pytest.mark.parametrize("name", ["grpcio", "grpc-js"])
def test_it_records_and_then_sees_the_same_from_nobody(tmp_path: Path, name: str) -> None:
    authority = tmp_path / "origins.pem"
    origins_authority().cert_pem.write_to_path(str(authority))
    with Server().running(_credentials()) as server:
        command = _command(name, f"localhost:{server.port}")
        live, recorded = _ran(tmp_path, command, "--record", "--ca-file", str(authority))
    assert live[0] == "echo:hello"
    assert "2:r" in live[1]
    assert recorded["recorded"] == 2
    again, replayed = _ran(tmp_path, command, "--replay", "--fail-on-miss")
    assert again == live
    assert replayed["hits"] == 2
