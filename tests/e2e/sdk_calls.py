"""Calls that real clients make: each takes a base URL and gives what its user would see."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import openai
import requests
from api_upstream import SECRETS
from attrs import frozen

__all__ = ["CALLS", "Seen"]

SMALL_FILE = b"col\n1\n2\n\xff\xfe"
LARGE_FILE = bytes(range(251)) * 6_000
"""Over a megabyte: spooled, and kept in a file of its own."""

QUESTION = "Grüße?"


@frozen
class Seen:
    """What came of a call: status, header fields in order, and the body, or what was made of it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Any


Fields = Iterable[tuple[str, str]]


def _seen(status: int, headers: Fields, body: Any) -> Seen:
    return Seen(status, tuple((name.lower(), value) for name, value in headers), body)


class _OpenAI:
    """The official client, asking as its documentation shows."""

    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(
            api_key=SECRETS["bearer"], base_url=f"{url}/v1", max_retries=0, timeout=120
        )

    def chat(self) -> Seen:
        raw = self._client.chat.completions.with_raw_response.create(
            model="gpt-x", messages=[{"role": "user", "content": QUESTION}], temperature=0.5
        )
        text = raw.parse().choices[0].message.content
        return _seen(raw.status_code, raw.headers.multi_items(), (text, raw.content))

    def streamed_chat(self) -> Seen:
        """The client stops reading at ``[DONE]`` and closes, before the last chunk."""
        with self._client.chat.completions.create(
            model="gpt-x", messages=[{"role": "user", "content": QUESTION}], stream=True
        ) as stream:
            words = [(chunk.id, chunk.choices[0].delta.content) for chunk in stream]
            response = stream.response
            return _seen(response.status_code, response.headers.multi_items(), words)

    def embeddings(self) -> Seen:
        raw = self._client.embeddings.with_raw_response.create(
            model="text-embedding-x", input="hello"
        )
        vector = raw.parse().data[0].embedding
        return _seen(raw.status_code, raw.headers.multi_items(), (vector, raw.content))

    def speech(self) -> Seen:
        """Five megabytes of bytes."""
        raw = self._client.audio.speech.with_raw_response.create(
            model="tts-x", voice="alloy", input="hello"
        )
        return _seen(raw.status_code, raw.headers.multi_items(), raw.content)

    def upload(self) -> Seen:
        return self._upload(SMALL_FILE)

    def large_upload(self) -> Seen:
        return self._upload(LARGE_FILE)

    def _upload(self, data: bytes) -> Seen:
        """A multipart body with a new boundary each time."""
        raw = self._client.files.with_raw_response.create(
            file=("data.bin", data), purpose="assistants"
        )
        return _seen(raw.status_code, raw.headers.multi_items(), raw.content)


class _Anthropic:
    def __init__(self, url: str) -> None:
        import anthropic  # noqa: PLC0415  # takes seconds: not in each worker

        self._client = anthropic.Anthropic(
            api_key=SECRETS["x-api-key"], base_url=url, max_retries=0, timeout=120
        )

    def message(self) -> Seen:
        raw = self._client.messages.with_raw_response.create(
            model="claude-x", max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
        )
        block = raw.parse().content[0]
        assert block.type == "text"
        said = (block.text, raw.http_response.content)
        return _seen(raw.status_code, raw.headers.multi_items(), said)

    def streamed_message(self) -> Seen:
        with self._client.messages.stream(
            model="claude-x", max_tokens=64, messages=[{"role": "user", "content": QUESTION}]
        ) as stream:
            words = list(stream.text_stream)
            response = stream.response
            whole = stream.get_final_message()
            return _seen(response.status_code, response.headers.multi_items(), (words, whole.id))


class _Requests:
    @staticmethod
    def _seen(response: requests.Response) -> Seen:
        return _seen(response.status_code, response.raw.headers.items(), response.content)

    def get_with_key_in_query(self, url: str) -> Seen:
        """A gzipped answer, a cookie, and a key where some APIs want it."""
        with requests.Session() as session:
            session.cookies.set("session", SECRETS["cookie"])
            params = {"key": SECRETS["query"], "alt": "json"}
            return self._seen(session.get(f"{url}/gzip", params=params, timeout=120))

    def upload(self, url: str) -> Seen:
        files = {"file": ("data.bin", SMALL_FILE), "other": ("x.txt", b"y")}
        return self._seen(requests.post(f"{url}/upload", files=files, timeout=120))

    def large_upload(self, url: str) -> Seen:
        files = {"file": ("data.bin", LARGE_FILE)}
        return self._seen(requests.post(f"{url}/upload?large", files=files, timeout=120))

    def chunked_upload(self, url: str) -> Seen:
        """A generator as body is sent in chunks."""
        parts = (b"part %d\n" % number for number in range(3))
        return self._seen(requests.post(f"{url}/upload?chunked", data=parts, timeout=120))


class _HTTPX:
    def streamed_lines(self, url: str) -> Seen:
        with httpx.stream("GET", f"{url}/ndjson", timeout=120) as response:
            lines = list(response.iter_lines())
            return _seen(response.status_code, response.headers.multi_items(), lines)

    def upload(self, url: str) -> Seen:
        files = {"file": ("data.bin", SMALL_FILE)}
        response = httpx.post(f"{url}/upload?httpx", files=files, timeout=120)
        return _seen(response.status_code, response.headers.multi_items(), response.content)


class _Curl:
    @staticmethod
    def _run(*arguments: str) -> Seen:
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", "10", *arguments]
        done = subprocess.run(command, capture_output=True, check=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        while head.split()[1].startswith(b"1"):
            head, _, body = body.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        fields = [(name, value) for name, _, value in (item.partition(": ") for item in lines)]
        return _seen(int(line.split()[1]), fields, body)

    def large(self, url: str) -> Seen:
        return self._run(f"{url}/large?curl")

    def gzip(self, url: str) -> Seen:
        return self._run("--compressed", f"{url}/gzip?curl")

    def form(self, url: str) -> Seen:
        return self._run("--form", "a=b", "--form", "c=d", f"{url}/upload?curl")

    def large_form(self, url: str) -> Seen:
        """Over a megabyte: curl asks first, by ``Expect: 100-continue``."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "data.bin"
            path.write_bytes(LARGE_FILE)
            return self._run("--form", f"file=@{path}", f"{url}/upload?curl-large")


_FETCH = """
const [url, kind] = process.argv.slice(1);
const form = new FormData();
form.append("file", new Blob(["1,2,3"]), "data.csv");
const post = {method: "POST", body: form};
const response = await fetch(url, kind === "form" ? post : {});
const body = Buffer.from(await response.arrayBuffer()).toString("latin1");
console.log(JSON.stringify([response.status, [...response.headers], body]));
"""


class _Fetch:
    """The fetch of node, which is undici."""

    @staticmethod
    def _run(*arguments: str) -> Seen:
        command = ["node", "--input-type=module", "--eval", _FETCH, "--", *arguments]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120)
        status, headers, body = json.loads(done.stdout)
        return _seen(status, [(name, value) for name, value in headers], body)

    def gzip(self, url: str) -> Seen:
        return self._run(f"{url}/gzip?fetch", "get")

    def form(self, url: str) -> Seen:
        return self._run(f"{url}/upload?fetch", "form")


Call = Callable[[str], Seen]

CALLS: dict[str, Call] = {
    "openai chat": lambda url: _OpenAI(url).chat(),
    "openai streamed chat": lambda url: _OpenAI(url).streamed_chat(),
    "openai embeddings": lambda url: _OpenAI(url).embeddings(),
    "openai speech": lambda url: _OpenAI(url).speech(),
    "openai upload": lambda url: _OpenAI(url).upload(),
    "openai large upload": lambda url: _OpenAI(url).large_upload(),
    "anthropic message": lambda url: _Anthropic(url).message(),
    "anthropic streamed message": lambda url: _Anthropic(url).streamed_message(),
    "requests get": _Requests().get_with_key_in_query,
    "requests upload": _Requests().upload,
    "requests large upload": _Requests().large_upload,
    "requests chunked upload": _Requests().chunked_upload,
    "httpx stream": _HTTPX().streamed_lines,
    "httpx upload": _HTTPX().upload,
    "curl large": _Curl().large,
    "curl gzip": _Curl().gzip,
    "curl form": _Curl().form,
    "curl large form": _Curl().large_form,
    "fetch gzip": _Fetch().gzip,
    "fetch form": _Fetch().form,
}
"""By name. Each has request targets or bodies that no other has."""
