"""Secrets of bodies, streams and paths stay in memory; what was replayed of them still matches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

SECRET = b"s3cr3t0123456789abcdefghijklmnopqrstuv"
BEARER = (b"Authorization", b"Bearer " + SECRET)
JSON = (b"Content-Type", b"application/json")


def bytes_on_disk(directory: Path) -> bytes:
    return b"\n".join([path.read_bytes() for path in directory.rglob("*") if path.is_file()])


def run(directory: Path, mode: str, *flags: str) -> AbstractContextManager[BuffrProcess]:
    return BuffrProcess.run(
        mode, "--port", "0", "--cassette", "api.json", *flags, cwd=directory, listeners=1
    )


class TestFlow:
    def test_oauth(self, tmp_path: Path) -> None:
        """The live client gets the token; a replayed one is taken where the real one was."""

        def script(received: Received) -> bytes:
            if received.target == b"/token":
                return answer(b'{"access_token": "%b"}' % SECRET, headers=[JSON])
            return answer(b"hello " + SECRET)

        form = (b"Content-Type", b"application/x-www-form-urlencoded")
        login = request(
            b"/token", method=b"POST", headers=[form], body=b"client_secret=x&password=y"
        )

        def call(token: bytes) -> bytes:
            body = b'{"token": "%b", "n": 1}' % token
            bearer = (b"Authorization", b"Bearer " + token)
            return request(b"/t/%b/me" % token, method=b"POST", headers=[bearer, JSON], body=body)

        with FakeUpstream(script) as upstream:
            with run(tmp_path, "auto", "--target", upstream.url) as running:
                token = json.loads(ask(running.ports[0], login).body)["access_token"].encode()
                assert token == SECRET
                assert ask(running.ports[0], call(token)).body == b"hello " + SECRET
                assert SECRET.decode() not in running.log()
            assert SECRET not in bytes_on_disk(tmp_path)
        with run(tmp_path, "replay") as running:
            token = json.loads(ask(running.ports[0], login).body)["access_token"].encode()
            assert token.startswith(b"REDACTED-access-token-")
            for each in (token, SECRET):
                replayed = ask(running.ports[0], call(each))
                assert replayed.status == 200
                assert replayed.body.startswith(b"hello REDACTED-authorization-")


class TestTraces:
    def test_none_is_left(self, tmp_path: Path) -> None:
        """Streams cut anywhere, bodies in files, refusals and misses: no file and no line."""
        around = b'data: {"text": "%b"}\n\n' % SECRET

        def script(received: Received) -> bytes | Iterator[Step]:
            kind = [(b"Content-Type", b"text/event-stream")]
            if b"stream" in received.target:
                at = int(received.target.rpartition(b"/")[2])
                return chunked([around[:at], around[at:], b"data: [DONE]\n\n"], headers=kind)
            if b"large" in received.target:
                return answer(b"y" * 1_500_000 + around + b"z" * 1_500_000)
            if b"coded" in received.target:
                return answer(SECRET[::-1], headers=[(b"Content-Encoding", b"own")])
            return answer(around)

        with FakeUpstream(script) as upstream:
            with run(tmp_path, "auto", "--target", upstream.url) as running:
                port = running.ports[0]
                for at in range(15, 15 + len(SECRET), 3):
                    raw = request(b"/stream/%d" % at, headers=[BEARER])
                    assert SECRET in ask(port, raw).body
                large = request(
                    b"/large", method=b"POST", headers=[BEARER], body=b"z" * 1_200_000 + around
                )
                assert SECRET in ask(port, large).body
                path = request(b"/path/" + SECRET, headers=[BEARER])
                assert SECRET in ask(port, path).body
                assert ask(port, request(b"/coded", headers=[BEARER])).body == SECRET[::-1]
                running.wait_for("redact.unsafe")
                assert SECRET.decode() not in running.log()
            assert SECRET not in bytes_on_disk(tmp_path)
        assert len(list((tmp_path / "api.d").iterdir())) == 2
        with run(tmp_path, "replay") as running:
            port = running.ports[0]
            assert ask(port, large).body.count(b"REDACTED-authorization-") == 1
            for raw in (request(b"/path/" + SECRET, headers=[BEARER]), path):
                assert b"REDACTED-authorization-" in ask(port, raw).body
            streamed = ask(port, request(b"/stream/15", headers=[BEARER])).body
            assert streamed.endswith(b"data: [DONE]\n\n")
            body = b'{"x": "%b", "api_key": "%b"}' % (SECRET, SECRET)
            miss = ask(port, request(b"/no/" + SECRET, method=b"POST", headers=[BEARER], body=body))
            assert miss.status == 599
            assert SECRET not in miss.body
            assert SECRET.decode() not in running.log()


class TestGoCassette:
    def test_in_clear(self, tmp_path: Path) -> None:
        """What it holds in clear is found, by any key, and shown to nobody."""
        secret = SECRET.decode()
        recorded = {
            "request": {
                "method": "POST",
                "path": "/v1",
                "headers": {"Authorization": [f"Bearer {secret}"]},
                "body": json.dumps({"password": secret}),
            },
            "response": {
                "status": 200,
                "headers": {"Set-Cookie": [f"sid={secret}"]},
                "body": json.dumps({"echo": secret}),
            },
        }
        cassette = {"version": 1, "interactions": [{"type": "http", "http": recorded}]}
        (tmp_path / "api.json").write_text(json.dumps(cassette))
        with run(tmp_path, "replay") as running:
            for token in (SECRET, b"dummy"):
                headers = [(b"Authorization", b"Bearer " + token)]
                body = b'{"password":"%b"}' % token
                got = ask(
                    running.ports[0],
                    request(b"/v1", method=b"POST", headers=headers, body=body),
                )
                assert got.status == 200
                assert b"REDACTED-" in got.body
                assert SECRET not in got.body
                assert SECRET not in (got.header(b"Set-Cookie") or b"")
            miss = ask(running.ports[0], request(b"/v1", method=b"POST", body=b'{"a": 1}'))
            assert miss.status == 599
            assert SECRET not in miss.body
            assert secret not in running.log()


class TestSettings:
    @pytest.mark.parametrize("rule", ["json: ['$.[']", "patterns: ['(']"])
    def test_no_rule(self, tmp_path: Path, rule: str) -> None:
        """A rule that is not understood keeps buffr from starting, and is named."""
        (tmp_path / "buffr.yaml").write_text(
            f"reverse: [{{target: 'http://127.0.0.1:1', port: 0}}]\nredact: {{{rule}}}\n"
        )
        with (
            pytest.raises(RuntimeError, match=rf"redact\.{rule.partition(':')[0]}: "),
            BuffrProcess.run("serve", cwd=tmp_path),
        ):
            pass
