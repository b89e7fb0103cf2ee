"""The same call of a real client, made twice, is one request, however its body is wrapped."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import pytest
import requests
import yaml
from botocore.config import Config  # type: ignore[import-untyped]

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

SECRET = "sk-test-1a2B3c4D5e6F7g8H9i0J"

Call = Callable[[str], object]


def numbered(received: Received) -> bytes:
    """Each call that reaches the upstream gets another answer."""
    if received.header(b"X-Amz-Target"):
        said = json.dumps({"ARN": f"arn:{uuid4()}"})
        kind = (b"Content-Type", b"application/x-amz-json-1.1")
        return answer(said.encode(), headers=[kind])
    if b"Action=RunInstances" in received.body:
        body = b"<R><reservationId>%b</reservationId></R>" % uuid4().hex.encode()
        return answer(body, headers=[(b"Content-Type", b"text/xml")])
    if received.method == b"PUT":
        return answer(headers=[(b"ETag", b'"%b"' % uuid4().hex.encode())])
    return answer(uuid4().hex.encode())


def aws(service: str, url: str, **config: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key=SECRET,
        verify=False,
        config=Config(retries={"max_attempts": 1}, **config),
    )


def put_object(size_bytes: int) -> Call:
    """``Content-Encoding: aws-chunked`` with the checksum in a trailer, as botocore sends it."""

    def call(url: str) -> object:
        client = aws("s3", url, s3={"addressing_style": "path"})
        body = io.BytesIO(bytes(range(256)) * (size_bytes // 256))
        put = client.put_object(Bucket="b", Key="k", Body=body, ChecksumAlgorithm="SHA256")
        return put["ETag"]

    return call


def signed_upload(url: str) -> object:
    """Signed chunks of a size of the day, as other SDKs send them."""
    payload, sign = b"hello " * 20_000, uuid4().hex.encode() * 2
    size = 8192 + uuid4().int % 8192
    chunks = [payload[at : at + size] for at in range(0, len(payload), size)]
    framed = [b"%x;chunk-signature=%b\r\n%b\r\n" % (len(one), sign, one) for one in (*chunks, b"")]
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": str(len(payload)),
    }
    put = requests.put(f"{url}/b/k", b"".join(framed), headers=headers, timeout=120, verify=False)
    return put.headers["ETag"]


def start_execution(url: str) -> object:
    """A service that wants an idempotency token, which boto3 makes up."""
    client = aws("secretsmanager", url)
    return client.create_secret(Name="x", SecretString="y")["ARN"]


def run_instances(url: str) -> object:
    """The same in a form, as EC2's query protocol has it."""
    client = aws("ec2", url)
    return client.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["ReservationId"]


def batch(url: str) -> object:
    """As googleapiclient's ``BatchHttpRequest`` sends it."""
    boundary, base = f"==============={uuid4().int % 10**19}==", uuid4()
    parts = []
    for number in (1, 2):
        order = ["b", "a"] if base.int % 2 else ["a", "b"]
        body = json.dumps(dict.fromkeys(order, number))
        parts.append(
            f"--{boundary}\nContent-Type: application/http\nMIME-Version: 1.0\n"
            f"Content-Transfer-Encoding: binary\nContent-ID: <{base} + {number}>\n\n"
            f"POST /drive/v3/files/{number}?alt=json HTTP/1.1\nContent-Type: application/json\n"
            f"Host: www.googleapis.com\ncontent-length: {len(body)}\n\n{body}\n"
        )
    text = "".join(parts) + f"--{boundary}--"
    headers = {"Content-Type": f'multipart/mixed; boundary="{boundary}"'}
    return requests.post(f"{url}/batch", text, headers=headers, timeout=120, verify=False).content


CALLS: dict[str, Call] = {
    "put_object": put_object(4096),
    "put_object of two megabytes": put_object(2 << 20),
    "signed chunks": signed_upload,
    "create_secret": start_execution,
    "run_instances": run_instances,
    "batch": batch,
}


@contextmanager
def serving(directory: Path, upstream: FakeUpstream, mode: str) -> Iterator[str]:
    """A port with TLS, as botocore sends checksums behind a body only there: its URL."""
    row = {"target": upstream.url, "port": 0, "mode": mode, "cassette": "c.json", "tls": True}
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory) as running:
        yield f"https://127.0.0.1:{running.ports[0]}"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
class TestMadeTwice:
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_it_is_one_request(self, tmp_path: Path, call: Call) -> None:
        """The second call has the answer of the first: in one run, and in a replay."""
        with FakeUpstream(numbered) as upstream:
            with serving(tmp_path, upstream, "auto") as url:
                first = call(url)
                assert first
                assert call(url) == first
            with serving(tmp_path, upstream, "replay") as url:
                assert call(url) == first
            assert len(upstream.received) == 1

    def test_botocore_chunks_its_uploads(self, tmp_path: Path) -> None:
        """Or the test above would be about nothing."""
        with FakeUpstream(numbered) as upstream:
            with serving(tmp_path, upstream, "auto") as url:
                put_object(4096)(url)
            (received,) = upstream.received
            assert received.header(b"Content-Encoding") == b"aws-chunked"
            assert b"x-amz-checksum-sha256:" in received.body
