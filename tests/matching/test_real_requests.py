"""Bodies and URLs as real clients send them: what is new each time makes no difference."""

from __future__ import annotations

import io
from collections.abc import Callable

import httpx
import pytest
import requests

from buffr.matching.matcher import Matcher
from buffr.matching.rules import IgnoreRule, MatchRules
from buffr.message import Headers, Request

URL = "http://127.0.0.1/upload"


def by_requests(content: bytes) -> tuple[str, bytes]:
    files = {"file": ("é.bin", io.BytesIO(content), "application/octet-stream")}
    sent = requests.Request("POST", URL, data={"purpose": "x"}, files=files).prepare()
    assert isinstance(sent.body, bytes)
    return str(sent.headers["Content-Type"]), sent.body


def by_httpx(content: bytes) -> tuple[str, bytes]:
    files = {"file": ("é.bin", content, "application/octet-stream")}
    sent = httpx.Request("POST", URL, data={"purpose": "x"}, files=files)
    return sent.headers["Content-Type"], sent.read()


def by_curl(content: bytes, *, draw: list[int] = [0]) -> tuple[str, bytes]:  # noqa: B006 - a counter
    draw[0] += 1
    boundary = f"------------------------{draw[0]:016x}"
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    return (
        f"multipart/form-data; boundary={boundary}",
        body + content + f"\r\n--{boundary}--\r\n".encode(),
    )


def by_node(content: bytes, *, draw: list[int] = [0]) -> tuple[str, bytes]:  # noqa: B006 - a counter
    draw[0] += 1
    boundary = f"----formdata-undici-{draw[0]:012d}"
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="blob"\r\n\r\n'
    return (
        f"multipart/form-data; boundary={boundary}",
        body.encode() + content + f"\r\n--{boundary}--\r\n".encode(),
    )


def digest(target: str, headers: Headers, body: bytes, rules: MatchRules | None = None) -> bytes:
    matcher = Matcher(rules or MatchRules(), with_origin=False)
    assert not matcher.warnings
    return matcher.live(Request(b"POST", target.encode(), headers), body).keys[0].digest


class TestMultipart:
    def test_two_clients(self) -> None:
        """They escape a file name in ways of their own; the form is the same."""
        content = b"\r\n--\x00" * 9

        def made(client: Callable[[bytes], tuple[str, bytes]], content: bytes = content) -> bytes:
            content_type, body = client(content)
            return digest("/upload", ((b"content-type", content_type.encode()),), body)

        assert made(by_requests) == made(by_httpx)
        assert made(by_requests) != made(by_httpx, content[1:])

    @pytest.mark.parametrize("client", [by_requests, by_httpx, by_curl, by_node])
    def test_clients(self, client: Callable[[bytes], tuple[str, bytes]]) -> None:
        """One upload by one client is one request each time, another file is another."""

        def sent(content: bytes) -> bytes:
            content_type, body = client(content)
            return digest("/upload", ((b"content-type", content_type.encode()),), body)

        content = bytes(range(256)) * 3 + b"\r\n--\r\n"
        assert client(content) != client(content)
        assert sent(content) == sent(content) != sent(content + b"x")


OPENAI = """{{"model":"gpt-4o","messages":[{{"role":"system","content":"Today is {time}."}},
 {{"role":"user","content":"Grüße"}}],"metadata":{{"run":"{uuid}"}},"seed":{number},"n":1.0}}"""
ANTHROPIC = """{{"max_tokens": 64, "model": "claude", "metadata": {{"user_id": "user_{uuid}"}},
 "messages": [{{"role": "user", "content": [{{"type": "text", "text": "It is {time}"}}]}}]}}"""
GEMINI = """{{"contents":[{{"role":"user","parts":[{{"text":"run-{number}: hello"}}]}}],
 "labels":{{"requested_at":"{time}","request_id":"{uuid}"}}}}"""

TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z"
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def ignoring(*patterns: str) -> MatchRules:
    rules = [
        IgnoreRule(part="request.body", pattern=pattern, replace_with="_") for pattern in patterns
    ]
    return MatchRules(ignore=tuple(rules))


class TestModels:
    @pytest.mark.parametrize(
        ("template", "rules"),
        [
            (OPENAI, ignoring(TIME, UUID, '"seed":[0-9]+')),
            (ANTHROPIC, ignoring(TIME, "user_" + UUID)),
            (GEMINI, ignoring(TIME, UUID, "run-[0-9]+")),
        ],
    )
    def test_noise(self, template: str, rules: MatchRules) -> None:
        """Identifiers and times are ignored by rules.

        Without the rules they count, and so does everything else.
        """
        headers: Headers = ((b"Content-Type", b"application/json"),)
        noise = [
            ("2026-11-21T22:02:41Z", "7b8a5f0e-3c1d-4e2f-9a6b-0c1d2e3f4a5b", 1),
            ("2026-11-22T01:00:00Z", "00000000-0000-4000-8000-000000000001", 22),
        ]
        one, two = (
            template.format(time=time, uuid=uuid, number=number).encode()
            for time, uuid, number in noise
        )
        assert digest("/", headers, one, rules) == digest("/", headers, two, rules)
        assert digest("/", headers, one) != digest("/", headers, two)
        other = one.replace(b"user", b"tool")
        assert digest("/", headers, one, rules) != digest("/", headers, other, rules)


class TestSigV4:
    def test_presigned(self) -> None:
        """A pre-signed URL signed again is the same object; another object or part is not."""
        url = (
            "/bucket/a%20b.txt?response-content-type=text%2Fplain&X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F{date}%2Fus-east-1%2Fs3%2Faws4_request"
            "&X-Amz-Date={date}T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature={signature}"
        )
        one = url.format(date="20130524", signature="a" * 64)
        two = url.format(date="20130525", signature="b" * 64)
        assert digest(one, (), b"") == digest(two, (), b"")
        assert digest(one, (), b"") != digest(one.replace("a%20b", "c"), (), b"")
        assert digest(one, (), b"") != digest(one, ((b"Range", b"bytes=0-9"),), b"")
