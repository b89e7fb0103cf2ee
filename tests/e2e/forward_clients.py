"""Programs that know a proxy and a CA from their environment alone, and an origin for them all."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from api_upstream import APIUpstream
from attrs import define, field, frozen
from forward_bench import NO_PARENTS

from buffr.testing import Received, Step, answer

__all__ = [
    "CLIENTS",
    "HOST",
    "Around",
    "Client",
    "OriginOfAll",
    "settings_files",
    "variables",
]

HOST = "example.test"
"""Below it are the origins. No resolver knows it, so only through buffr it is anywhere."""

_WHEEL = "tinypkg-1.0-py3-none-any.whl"
_OBJECT = b"an object \x00\xff of a bucket"
_PASSWORD = "changeit"
_KEPT = ("PATH", "LANG", "NODE_PATH", "GOROOT")


@frozen
class Around:
    """What a client finds: the origins' port, buffr's CA in files, and a directory of its own."""

    port: int
    ca: Path
    own: Path
    variables: Mapping[str, str]

    def url(self, host: str) -> str:
        return f"https://{host}.{HOST}:{self.port}"

    def run(self, *command: str) -> bytes:
        """What a program writes to standard output. Raises ``AssertionError`` with the rest."""
        done = subprocess.run(
            command,
            cwd=self.own,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (done.stderr + done.stdout).decode("utf-8", "replace")
        return done.stdout

    def python(self, program: str, *arguments: str) -> bytes:
        return self.run(sys.executable, "-c", program, *arguments)

    def node(self, program: str, *arguments: str) -> bytes:
        return self.run("node", "--input-type=module", "--eval", program, "--", *arguments)


def settings_files(directory: Path) -> None:
    """What programs need beside ``bundle.pem`` that have no variable for a CA but for settings."""
    # Once, and before any program starts: others may read it while one is started.
    (directory / "wgetrc").write_text(f"ca_certificate = {directory / 'bundle.pem'}\n")


def variables(proxy_port: int, files: Path, home: Path) -> dict[str, str]:
    """An environment with this proxy, and the CA whose files ``buffr ca`` has made in ``files``."""
    proxy = f"http://127.0.0.1:{proxy_port}"
    pem, bundle = str(files / "ca.pem"), str(files / "bundle.pem")
    java = {
        "https.proxyHost": "127.0.0.1",
        "https.proxyPort": str(proxy_port),
        "javax.net.ssl.trustStore": str(files / "ca.p12"),
        "javax.net.ssl.trustStoreType": "PKCS12",
        "javax.net.ssl.trustStorePassword": _PASSWORD,
    }
    return {
        **{name: value for name, value in os.environ.items() if name in _KEPT},
        **NO_PARENTS,
        "HOME": str(home),
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "GIT_SSL_CAINFO": bundle,
        "AWS_CA_BUNDLE": bundle,
        "PIP_CERT": bundle,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "WGETRC": str(files / "wgetrc"),
        "NODE_EXTRA_CA_CERTS": pem,
        "NODE_USE_ENV_PROXY": "1",
        "JAVA_TOOL_OPTIONS": " ".join(f"-D{name}={value}" for name, value in java.items()),
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not a secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GOCACHE": os.environ.get("GOCACHE") or str(Path.home() / ".cache/go-build"),
        "GO111MODULE": "off",
    }


@frozen
class Client:
    """A program, what it is missing here if anything is, and the mark of a true answer."""

    run: Callable[[Around], bytes]
    missing: Callable[[], str]
    mark: bytes = b'"number": '


def _program(name: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(name) else f"{name} is not on this machine"


def _module(name: str) -> Callable[[], str]:
    return lambda: "" if find_spec(name) else f"{name} is not installed"


_REQUESTS = """
import sys, requests
url = sys.argv[1]
with requests.Session() as session:
    for answer in (session.get(url), session.post(url, json={"a": 1})):
        answer.raise_for_status()
        sys.stdout.buffer.write(answer.content)
"""

_HTTPX = _REQUESTS.replace("requests.Session", "httpx.Client").replace("requests", "httpx")

_URLLIB3 = """
import os, sys, urllib3
pool = urllib3.ProxyManager(os.environ["HTTPS_PROXY"], ca_certs=os.environ["SSL_CERT_FILE"])
for method, body in (("GET", None), ("POST", b"a=1")):
    answer = pool.request(method, sys.argv[1], body=body)
    assert answer.status == 200, answer.data
    sys.stdout.buffer.write(answer.data)
"""

_URLLIB = """
import sys, urllib.request
for body in (None, b"a=1"):
    with urllib.request.urlopen(sys.argv[1], body) as answer:
        sys.stdout.buffer.write(answer.read())
"""

_AIOHTTP = """
import asyncio, sys, aiohttp
async def main(url):
    async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
        for asking in (session.get(url), session.post(url, json={"a": 1})):
            async with asking as answer:
                sys.stdout.buffer.write(await answer.read())
asyncio.run(main(sys.argv[1]))
"""

_OPENAI = """
import sys, openai
client = openai.OpenAI(api_key="dummy", base_url=sys.argv[1] + "/v1", max_retries=0, timeout=120)
asked = dict(model="gpt-x", messages=[{"role": "user", "content": "Hello"}])
print(client.chat.completions.with_raw_response.create(**asked).text)
for chunk in client.chat.completions.create(**asked, stream=True):
    print(chunk.id, chunk.choices[0].delta.content)
"""

_BOTO3 = """
import sys, boto3
s3 = boto3.client("s3", endpoint_url=sys.argv[1])
s3.put_object(Bucket="bucket", Key="new", Body=b"something")
sys.stdout.buffer.write(s3.get_object(Bucket="bucket", Key="key")["Body"].read())
"""

_NODE_AGENT = """
import http from "node:http";
import https from "node:https";
import tls from "node:tls";
class Tunnels extends https.Agent {
  createConnection(options, done) {
    const proxy = new URL(process.env.HTTPS_PROXY);
    const path = `${options.host}:${options.port}`;
    http.request({host: proxy.hostname, port: proxy.port, method: "CONNECT", path, agent: false})
      .on("connect", (answer, socket) => {
        if (answer.statusCode !== 200) return done(new Error(`CONNECT: ${answer.statusCode}`));
        done(null, tls.connect({socket, servername: options.host}));
      }).on("error", done).end();
  }
}
const agent = new Tunnels({keepAlive: true, maxSockets: 1});
function ask(method, body) {
  return new Promise((done, failed) => {
    https.request(process.argv[1], {method, agent}, async (answer) => {
      const parts = [];
      for await (const part of answer) parts.push(part);
      done(Buffer.concat(parts));
    }).on("error", failed).end(body);
  });
}
process.stdout.write(await ask("GET"));
process.stdout.write(await ask("POST", "a=1"));
agent.destroy();
"""

_NODE_FETCH = """
for (const init of [{}, {method: "POST", body: "a=1"}]) {
  const answer = await fetch(process.argv[1], init);
  if (!answer.ok) throw new Error(`${answer.status}`);
  process.stdout.write(Buffer.from(await answer.arrayBuffer()));
}
"""

_AXIOS = """
const axios = require("axios");
(async () => {
  for (const config of [{method: "get"}, {method: "post", data: {a: 1}}]) {
    const answer = await axios({url: process.argv[1], responseType: "text", ...config});
    process.stdout.write(answer.data);
  }
})();
"""

_UNDICI = """
const {request, EnvHttpProxyAgent} = require("undici");
(async () => {
  const dispatcher = new EnvHttpProxyAgent();
  for (const options of [{}, {method: "POST", body: "a=1"}]) {
    const answer = await request(process.argv[1], {dispatcher, ...options});
    process.stdout.write(await answer.body.text());
  }
  await dispatcher.close();
})();
"""

_GO = """
package main

import ("io"; "net/http"; "os"; "strings")

func main() {
	for _, method := range []string{"GET", "POST"} {
		request, _ := http.NewRequest(method, os.Args[1], strings.NewReader(method))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			panic(err)
		}
		io.Copy(os.Stdout, answer.Body)
		answer.Body.Close()
	}
}
"""

_JAVA = """
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.*;
public class Ask {
  public static void main(String[] arguments) throws Exception {
    var client = HttpClient.newBuilder().proxy(ProxySelector.getDefault()).build();
    var asked = HttpRequest.newBuilder(URI.create(arguments[0]));
    var posted = HttpRequest.BodyPublishers.ofString("a=1");
    for (var request : new HttpRequest[] {asked.GET().build(), asked.POST(posted).build()}) {
      var answer = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
      if (answer.statusCode() != 200) throw new Exception("" + answer.statusCode());
      System.out.write(answer.body());
    }
    System.out.flush();
  }
}
"""


def _node_with_proxy() -> str:
    """Node reads the proxy's variables from 22.21 and 24.5 on."""
    node = shutil.which("node")
    if node is None:
        return "node is not on this machine"
    text = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    reads = version >= (24, 5) or (22, 21) <= version < (23, 0)
    return "" if reads else f"node {text.strip()} reads no proxy from its environment"


def _node_module(name: str) -> Callable[[], str]:
    """Modules that ``NODE_PATH`` leads to."""

    def missing() -> str:
        node = shutil.which("node")
        if node is None:
            return "node is not on this machine"
        looking = [node, "--eval", f'require.resolve("{name}")']
        found = subprocess.run(looking, capture_output=True, check=False).returncode == 0
        return "" if found else f"node has no {name} (NODE_PATH could say where it is)"

    return missing


def _with_require(program: str, path: str) -> Callable[[Around], bytes]:
    return lambda around: around.run("node", "--eval", program, "--", around.url("api") + path)


def _go(around: Around) -> bytes:
    program = around.own / "ask.go"
    program.write_text(_GO)
    around.run("go", "build", "-o", "ask", str(program))
    return around.run("./ask", around.url("api") + "/go")


def _java(around: Around) -> bytes:
    program = around.own / "Ask.java"
    program.write_text(_JAVA)
    return around.run("java", "-XX:TieredStopAtLevel=1", str(program), around.url("api") + "/java")


def _curl(around: Around) -> bytes:
    """Both requests in one tunnel."""
    url = around.url("api") + "/curl"
    common = ("--silent", "--show-error", "--fail")
    return around.run("curl", *common, url, "--next", *common, "--data", "a=1", url)


def _wget(around: Around) -> bytes:
    url = around.url("api") + "/wget"
    return around.run("wget", "--no-verbose", "--output-document=-", url, f"{url}?again")


def _git(around: Around) -> bytes:
    into = around.own / "clone"
    around.run("git", "clone", "--quiet", around.url("git") + "/repo.git", str(into))
    return around.run("git", "-C", str(into), "log", "--format=%H %s") + (
        (into / "file.txt").read_bytes()
    )


def _pip(around: Around) -> bytes:
    index = around.url("pypi") + "/simple/"
    around.run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"),
        *("--index-url", index, "--dest", str(around.own), "tinypkg==1.0"),
    )
    with zipfile.ZipFile(around.own / _WHEEL) as wheel:
        return wheel.read("tinypkg.py")


def _asking_api(program: str, path: str) -> Callable[[Around], bytes]:
    return lambda around: around.python(program, around.url("api") + path)


CLIENTS = {
    "openai": Client(_asking_api(_OPENAI, ""), _module("openai"), b"chatcmpl-"),
    "java": Client(_java, _program("java")),
    "boto3": Client(
        lambda around: around.python(_BOTO3, around.url("s3")), _module("boto3"), _OBJECT
    ),
    "pip": Client(_pip, _module("pip"), b"ANSWER = 42"),
    "aiohttp": Client(_asking_api(_AIOHTTP, "/aiohttp"), _module("aiohttp")),
    "git": Client(_git, _program("git"), b"what the clone is to have"),
    "requests": Client(_asking_api(_REQUESTS, "/requests"), _module("requests")),
    "httpx": Client(_asking_api(_HTTPX, "/httpx"), _module("httpx")),
    "urllib3": Client(_asking_api(_URLLIB3, "/urllib3"), _module("urllib3")),
    "urllib": Client(_asking_api(_URLLIB, "/urllib"), lambda: ""),
    "curl": Client(_curl, _program("curl")),
    "wget": Client(_wget, _program("wget")),
    "node agent": Client(
        lambda around: around.node(_NODE_AGENT, around.url("api") + "/agent"), _program("node")
    ),
    "node fetch": Client(
        lambda around: around.node(_NODE_FETCH, around.url("api") + "/fetch"), _node_with_proxy
    ),
    "axios": Client(_with_require(_AXIOS, "/axios"), _node_module("axios")),
    "undici": Client(_with_require(_UNDICI, "/undici"), _node_module("undici")),
    "go": Client(_go, _program("go")),
}
"""By name, those that take longest first. Each has request targets that no other has."""


@define
class OriginOfAll:
    """A script for ``FakeUpstream``: an API, a bucket, a git repository and a package index.

    Answers of the API bear numbers, so that a replay is told from a second
    fetch. ``directory`` is for the repository.
    """

    directory: Path
    _files: dict[str, bytes] = field(factory=dict)
    _api: APIUpstream = field(factory=APIUpstream)
    _numbers: Iterator[int] = field(factory=lambda: count(1))

    def __attrs_post_init__(self) -> None:
        if shutil.which("git"):
            self._files |= _repository(self.directory)
        self._files |= _index()

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        path = received.target.partition(b"?")[0].decode()
        if path.startswith("/v1/"):
            return self._api(received)
        if path.startswith(("/repo.git/", "/simple/", "/files/")):
            found = self._files.get(path)
            if found is None:
                return answer(b"no such file", b"404 Not Found")
            kind = b"text/html" if path.endswith("/") else b"application/octet-stream"
            return answer(found, headers=[(b"Content-Type", kind)])
        if path.startswith("/bucket/"):
            body = _OBJECT if received.method == b"GET" else b""
            return answer(
                body, headers=[(b"ETag", b'"%b"' % hashlib.md5(body).hexdigest().encode())]
            )
        text = json.dumps({"number": next(self._numbers), "method": received.method.decode()})
        return answer(text.encode() + b"\n", headers=[(b"Content-Type", b"application/json")])


def _repository(directory: Path) -> dict[str, bytes]:
    """The files of a bare repository that any server of files can serve."""
    work, bare = directory / "work", directory / "bare"
    env = {
        **os.environ,
        "HOME": str(directory),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "Ann" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "ann@example.test" for who in ("AUTHOR", "COMMITTER")},
    }

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=directory, env=env, check=True, capture_output=True)

    git("init", "--quiet", str(work))
    (work / "file.txt").write_text("what the clone is to have\n")
    git("-C", str(work), "add", ".")
    git("-C", str(work), "commit", "--quiet", "--message", "first")
    git("clone", "--quiet", "--bare", str(work), str(bare))
    git("-C", str(bare), "gc", "--quiet")
    git("-C", str(bare), "update-server-info")
    return {
        f"/repo.git/{path.relative_to(bare)}": path.read_bytes()
        for path in bare.rglob("*")
        if path.is_file()
    }


def _index() -> dict[str, bytes]:
    """A package index with one small wheel."""
    wheel = _wheel()
    link = f'<a href="/files/{_WHEEL}#sha256={hashlib.sha256(wheel).hexdigest()}">{_WHEEL}</a>'
    page = f"<!DOCTYPE html><html><body>{link}</body></html>"
    return {"/simple/tinypkg/": page.encode(), f"/files/{_WHEEL}": wheel}


def _wheel() -> bytes:
    files = {
        "tinypkg.py": "ANSWER = 42\n",
        "tinypkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n",
        "tinypkg-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    files["tinypkg-1.0.dist-info/RECORD"] = record + "tinypkg-1.0.dist-info/RECORD,,\n"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return whole.getvalue()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
