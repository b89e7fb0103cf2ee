"""SDKs and children in other languages under the plugin, over TLS, with several workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from forward_bench import secure_origin, trust_file
from node_packages import node_packages
from pytest_suite import Run

from buffr.testing import FakeUpstream, Received, answer

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "hello", "refusal": None},
        }
    ],
}
BUCKETS = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Buckets><Bucket><Name>b-%d</Name></Bucket></Buckets></ListAllMyBucketsResult>"""

SDKS = """
import os

import boto3
import pytest
from botocore.config import Config
from openai import OpenAI

UP = os.environ["UPSTREAM"]
ONCE = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


@pytest.mark.buffr
def test_boto3(buffr):
    own = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "s" * 40}
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=UP, config=ONCE, **own)
    assert client.list_buckets()["Buckets"][0]["Name"] == "b-1"
    assert buffr.misses == []


@pytest.mark.buffr
def test_openai(buffr):
    client = OpenAI(base_url=UP + "/v1", api_key="sk-" + "x" * 40, max_retries=0)
    asked = [{"role": "user", "content": "hi"}]
    told = client.chat.completions.create(model="m", messages=asked)
    assert told.choices[0].message.content == "hello"
    assert buffr.misses == []
"""

NODE = """
import os
import subprocess

import pytest
import requests

UP = os.environ["UPSTREAM"]
SCRIPT = '''
const { createRequire } = require("node:module");
const { EnvHttpProxyAgent, setGlobalDispatcher, fetch } =
  createRequire(process.env.NODE_MODULES + "/here.js")("undici");
setGlobalDispatcher(new EnvHttpProxyAgent());
fetch(process.argv[1]).then((answer) => answer.text()).then(console.log);
'''


@pytest.mark.vcr
@pytest.mark.parametrize("number", [1, 2, 3])
def test_with_a_child(number):
    own = requests.get(f"{UP}/python/{number}").text
    url = f"{UP}/node/{number}"
    command = ["node", "--eval", SCRIPT, url]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert own.startswith(f"GET /python/{number} ")
    assert theirs.startswith(f"GET /node/{number} ")


@pytest.mark.vcr
def test_without():
    assert requests.get(f"{UP}/alone").ok
"""


def _script(received: Received) -> bytes:
    if b"/chat/" in received.target:
        return answer(json.dumps(CHAT).encode(), headers=[(b"Content-Type", b"application/json")])
    if b"AWS4-HMAC" in (received.header(b"authorization") or b""):
        return answer(BUCKETS % 1, headers=[(b"Content-Type", b"application/xml")])
    return answer(b"%b %b on %d" % (received.method, received.target, received.connection))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with secure_origin(_script) as origin:
        yield origin


@pytest.fixture
def run(tmp_path: Path, upstream: FakeUpstream) -> Run:
    """The origin is behind TLS: whom to trust is in the settings."""
    settings = {"forward": {"ca_file": str(trust_file(tmp_path))}}
    (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
    return Run(tmp_path, upstream)


class TestSDKs:
    def test_boto3_and_openai(self, tmp_path: Path, run: Run, upstream: FakeUpstream) -> None:
        (tmp_path / "pytest.ini").write_text("[pytest]\nbuffr_config = buffr.yaml\n")
        (tmp_path / "test_sdks.py").write_text(SDKS)
        assert "2 passed" in run()
        assert len(upstream.received) == 2
        assert "2 passed" in run("--buffr-mode=replay", "-n", "2")
        assert len(upstream.received) == 2
        kept = "".join(path.read_text() for path in tmp_path.rglob("test_*.json"))
        assert "sk-xxx" not in kept
        assert "chatcmpl-1" in kept
        assert "ListAllMyBucketsResult" in kept


class TestNodeChildren:
    def test_recorded_in_the_test_that_started_them(
        self, tmp_path: Path, run: Run, upstream: FakeUpstream
    ) -> None:
        """In a suite of pytest-recording, by two workers, into each test's own cassette."""
        ini = "[pytest]\nbuffr_compat = vcr\nbuffr_config = buffr.yaml\n"
        (tmp_path / "pytest.ini").write_text(ini)
        (tmp_path / "test_it.py").write_text(NODE)
        modules = str(node_packages())
        assert "4 passed" in run("--record-mode=once", "-n", "2", NODE_MODULES=modules)
        asked = len(upstream.received)
        assert asked == 7
        for number in range(1, 4):
            path = tmp_path / "cassettes" / "test_it" / f"test_with_a_child[{number}].json"
            found = json.loads(path.read_text())["interactions"]
            targets = [each["http"]["request"]["path"] for each in found]
            assert targets == [f"/python/{number}", f"/node/{number}"]
        strict = ("--record-mode=none", "--block-network")
        assert "4 passed" in run("-n", "2", *strict, NODE_MODULES=modules)
        assert len(upstream.received) == asked
        assert "4 passed" in run("--record-mode=rewrite", "-n", "2", NODE_MODULES=modules)
        assert len(upstream.received) == 2 * asked
