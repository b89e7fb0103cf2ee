"""Clients inside, none of which is told of a proxy: recorded, and replayed from nobody."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from attrs import frozen
from commands import BUFFR
from forward_bench import NO_PARENTS, origin_tls, origins_authority, secure_origin, trust_file
from forward_clients import CLIENTS, HOST, OriginOfAll, variables
from namespaces import needs_namespaces
from realtime import realtime
from test_grpc import Server

from buffr.commands.run.environment import VARIABLES
from buffr.testing import FakeUpstream, Received, answer

pytestmark = needs_namespaces

HERE = Path(__file__).parent

ASK_ALL = """
import base64, json, os, pathlib, sys
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, sys.argv[1])
from forward_clients import Around
from test_isolate_clients import INSIDE

def take(name):
    own = directory / name.replace(" ", "-")
    own.mkdir(parents=True)
    around = Around(int(sys.argv[2]), pathlib.Path(), own, os.environ)
    try:
        return {"said": base64.b64encode(INSIDE[name](around)).decode()}
    except Exception as error:
        return {"error": repr(error)}

directory, names = pathlib.Path(sys.argv[3]), sys.argv[4:]
with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as threads:
    print(json.dumps(dict(zip(names, threads.map(take, names)))))
"""

WEBSOCKET = """
import asyncio, os, sys, aiohttp
async def main(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as talk:
        print((await talk.receive()).data)
        await talk.send_str('{"type": "bye", "code": 4001, "reason": "so long"}')
        async for message in talk:
            print(message.data)
        print(talk.close_code)
asyncio.run(main(sys.argv[1]))
"""

GRPC = """
import os, sys, grpc
host, clear, secure = sys.argv[1:]
for channel in (
    grpc.insecure_channel(f"{host}:{clear}"),
    grpc.secure_channel(f"{host}:{secure}", grpc.ssl_channel_credentials()),
):
    with channel:
        print(channel.unary_unary("/a.B/Echo")(b"hello", timeout=60, wait_for_ready=True))
        print(list(channel.unary_stream("/a.B/Repeat")(b"r", timeout=60)))
"""

PIPELINE = """
curl --silent --fail "$1/first" | { cat; wget --quiet --output-document=- "$1/second"; } |
  "$2" -c 'import sys, urllib.request as ask
print(sys.stdin.read(), ask.urlopen(sys.argv[1] + "/third").read().decode())' "$1"
"""

_PACKAGE = "tiny-package"


def _npm(around: Any) -> bytes:
    registry = f"https://npm.{HOST}:{os.environ['NPM_PORT']}/"
    around.run(
        *("npm", "install", "--no-audit", "--no-fund", "--no-update-notifier"),
        *(f"--registry={registry}", f"--cache={around.own / 'cache'}", _PACKAGE),
    )
    return bytes((around.own / f"node_modules/{_PACKAGE}/index.js").read_bytes())


INSIDE: dict[str, Callable[[Any], bytes]] = {
    **{
        name: CLIENTS[name].run
        for name in (
            *("openai", "java", "pip", "aiohttp", "git", "requests", "httpx", "urllib"),
            *("curl", "wget", "node fetch", "boto3", "go"),
        )
    },
    "aiohttp websocket": lambda around: around.python(
        WEBSOCKET, f"wss://ws.{HOST}:{os.environ['WS_PORT']}/v1/realtime"
    ),
    "grpcio": lambda around: around.python(
        GRPC, f"grpc.{HOST}", os.environ["GRPC_PORT"], os.environ["GRPCS_PORT"]
    ),
    "npm": _npm,
    "pipeline": lambda around: around.run(
        "sh", "-c", PIPELINE, "sh", around.url("pipe"), sys.executable
    ),
}


def _missing(name: str) -> str:
    if name == "node fetch":  # however old it is: it need not know of proxies
        return "" if shutil.which("node") else "node is not on this machine"
    if name in CLIENTS:
        return CLIENTS[name].missing()
    if name == "npm":
        return "" if shutil.which("npm") else "npm is not on this machine"
    return ""


class Registry:
    """A script for ``FakeUpstream``: a registry with one package, for npm."""

    def __init__(self, port: Callable[[], int]) -> None:
        self._port = port
        self._numbers = count(1)
        self._package = self._packed()

    def _packed(self) -> bytes:
        data = io.BytesIO()
        files = {
            "package.json": json.dumps({"name": _PACKAGE, "version": "1.0.0"}),
            "index.js": "module.exports = 42;\n",
        }
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return data.getvalue()

    def __call__(self, received: Received) -> bytes:
        if received.target.endswith(b".tgz"):
            return answer(self._package)
        digest = base64.b64encode(hashlib.sha512(self._package).digest()).decode()
        name = f"{_PACKAGE}-1.0.0.tgz"
        tarball = f"https://npm.{HOST}:{self._port()}/{_PACKAGE}/-/{name}"
        version = {
            "name": _PACKAGE,
            "version": "1.0.0",
            "dist": {"tarball": tarball, "integrity": f"sha512-{digest}"},
        }
        found = {
            "name": _PACKAGE,
            "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": version},
            "number": next(self._numbers),
        }
        kind = (b"Content-Type", b"application/json")
        return answer(json.dumps(found).encode(), headers=[kind])


@frozen
class Story:
    """What each client saw while it was recorded and in a replay, and the reports of the two."""

    takes: tuple[dict[str, dict[str, str]], ...]
    reports: tuple[dict[str, Any], ...]


@frozen
class Ports:
    http: int
    websocket: int
    npm: int
    grpc: int
    grpc_secure: int


def _ask_all(directory: Path, ports: Ports, phase: str, *flags: str) -> tuple[Any, Any]:
    names = [name for name in INSIDE if not _missing(name)]
    row = {"host": f"*.{HOST}", "resolve": "127.0.0.1", "cassette": "all.json"}
    settings = {"forward": {"ca_file": str(trust_file(directory)), "hosts": [row]}}
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    env = variables(1, directory, directory)
    for one in VARIABLES:
        env.pop(one.name, None)
    env |= {
        "WS_PORT": str(ports.websocket),
        "NPM_PORT": str(ports.npm),
        "GRPC_PORT": str(ports.grpc),
        "GRPCS_PORT": str(ports.grpc_secure),
    }
    done = subprocess.run(
        [
            *(*BUFFR, "run", "--isolate", f"--{phase}", "--config", "buffr.yaml", *flags),
            *("--report", f"{phase}.json", "--", sys.executable, "-c", ASK_ALL),
            *(str(HERE), str(ports.http), str(directory / phase), *names),
        ],
        cwd=directory,
        env={**env, **NO_PARENTS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads((directory / f"{phase}.json").read_text())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The replay has no origins."""
    directory = tmp_path_factory.mktemp("isolate")
    with ExitStack() as open_origins:
        enter = open_origins.enter_context
        origin = enter(secure_origin(OriginOfAll(directory), f"*.{HOST}"))
        talk = enter(realtime(tls=origin_tls(f"*.{HOST}")))
        registry: FakeUpstream
        registry = enter(secure_origin(Registry(lambda: registry.port), f"*.{HOST}"))
        clear, secure = enter(Server().running()), enter(Server().running(_credentials()))
        ports = Ports(origin.port, talk.port, registry.port, clear.port, secure.port)
        live, recorded = _ask_all(directory, ports, "record")
    again, replayed = _ask_all(directory, ports, "replay", "--fail-on-miss", "--fail-on-unused")
    return Story((live, again), (recorded, replayed))


def _credentials() -> Any:
    leaf = origins_authority().issue_cert(f"grpc.{HOST}")
    chain = b"".join(one.bytes() for one in leaf.cert_chain_pems)
    return grpc.ssl_server_credentials(((leaf.private_key_pem.bytes(), chain),))


class TestClients:
    @pytest.mark.parametrize("name", INSIDE)
    def test_it_records_and_then_sees_the_same_from_nobody(self, story: Story, name: str) -> None:
        if reason := _missing(name):
            pytest.skip(reason)
        live, again = (take[name] for take in story.takes)
        assert "said" in live, live
        assert again == live

    def test_nothing_was_refused(self, story: Story) -> None:
        recorded, replayed = story.reports
        assert recorded["escapes"] == replayed["escapes"] == []
        assert replayed["counts"]["hits"] == recorded["counts"]["recorded"] > 20

    def test_hosts_are_listed_with_their_programs(self, story: Story) -> None:
        for report, source in zip(story.reports, ("upstream", "cassette"), strict=True):
            asked = {one["host"]: one for one in report["asked"]}
            assert "pip" not in asked
            assert asked[f"git.{HOST}"]["requests"][source] > 1
            programs = set(asked[f"api.{HOST}"]["programs"])
            assert {"curl", "wget"} <= programs
            assert set(asked[f"pipe.{HOST}"]["programs"]) >= {"curl", "wget"}
