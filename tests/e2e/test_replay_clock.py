"""A session whose cookies, tokens and signed URLs have long expired replays as on its day."""

from __future__ import annotations

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
import requests
import yaml
from browsers import BROWSER, browsing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt as google_jwt
from google.auth.transport.requests import Request as GoogleRequest
from google.oauth2.service_account import IDTokenCredentials
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from buffr.formats.codings import encoded, encoding
from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

LATER = timedelta(days=365)
COOKIE_S, TOKEN_S, URL_S = 60, 300, 300

PAGE = b"""<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body><script>
fetch("/kept/" + document.cookie.split("=")[0])
</script></body></html>"""


class Api:
    """An API a year ago: everything that it gives out has expired since."""

    def __init__(self, age: timedelta = LATER) -> None:
        self.age = age

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) - self.age

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        path = urlsplit(received.target.decode()).path
        fields = [(b"Date", format_datetime(self.now, usegmt=True).encode())]
        match path:
            case "/login":
                expires = format_datetime(self.now + timedelta(seconds=COOKIE_S), usegmt=True)
                fields.append((b"Set-Cookie", f"sid=abc; Path=/; Expires={expires}".encode()))
                return answer(PAGE, headers=[*fields, (b"Content-Type", b"text/html")])
            case "/token":
                return answer(self._tokens(), headers=[*fields, JSON])
            case "/file":
                return answer(self._file(), headers=[*fields, JSON])
            case "/sts":
                until = (self.now + timedelta(seconds=TOKEN_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
                xml = (b"Content-Type", b"text/xml")
                return answer(STS.replace("UNTIL", until).encode(), headers=[*fields, xml])
            case "/bucket/key":
                return answer(b"content", headers=fields)
            case "/v1/chat/completions":
                return chunked(self._events(), [*fields, (b"Content-Type", b"text/event-stream")])
        return answer(b"{}", headers=[*fields, JSON])

    def _tokens(self) -> bytes:
        now = int(self.now.timestamp())
        claims = {"iss": "https://i.test", "aud": "me", "iat": now, "exp": now + TOKEN_S}
        parts = [json.dumps(each).encode() for each in ({"alg": "RS256"}, claims)]
        token = b".".join(urlsafe_b64encode(each).rstrip(b"=") for each in (*parts, b"s" * 256))
        expires_at = (self.now + timedelta(seconds=TOKEN_S)).isoformat(timespec="milliseconds")
        said = {"id_token": token.decode(), "expires_in": TOKEN_S, "expires_at": expires_at}
        return json.dumps(said).encode()

    def _file(self) -> bytes:
        date = self.now.strftime("%Y%m%dT%H%M%SZ")
        query = f"X-Amz-Date={date}&X-Amz-Expires={URL_S}&X-Amz-Signature={'ab' * 32}"
        created = int(self.now.timestamp() * 1000)
        return json.dumps({"url": f"/bucket/key?{query}", "created_ms": created}).encode()

    def _events(self) -> list[bytes]:
        created = int(self.now.timestamp())
        common = {"id": "c-1", "object": "chat.completion.chunk", "model": "m", "created": created}
        events = [{**common, "choices": [{"index": 0, "delta": {"content": "hello"}}]}]
        return [
            *(b"data: %b\n\n" % json.dumps(each).encode() for each in events),
            b"data: [DONE]\n\n",
        ]


JSON = (b"Content-Type", b"application/json")

STS = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><AssumedRoleId>A:s</AssumedRoleId><Arn>arn:aws:sts::1:r/s</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAXXXXXXXXXXXXXXXX</AccessKeyId>
<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>UNTIL</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@contextmanager
def serving(directory: Path, **row: Any) -> Iterator[BuffrProcess]:
    row = {"port": 0, "cassette": "c.json", **row}
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory) as running:
        yield running


def cookies_kept(client: requests.Session | httpx.Client, url: str) -> list[str | None]:
    """What a client sends back a moment later, by its own rules."""
    client.get(f"{url}/login")
    if isinstance(client, httpx.Client):
        return [cookie.name for cookie in client.cookies.jar]
    return [cookie.name for cookie in client.cookies]


def service_account(url: str) -> IDTokenCredentials:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made: IDTokenCredentials = IDTokenCredentials.from_service_account_info(
        {
            "client_email": "a@b.test",
            "token_uri": f"{url}/token",
            "private_key": private.decode(),
            "private_key_id": "k",
            "type": "service_account",
        },
        target_audience="me",
    )
    return made


def assumed_until(url: str) -> datetime:
    """How long a role is assumed, as boto3 reads it."""
    sts = boto3.client(
        "sts",
        endpoint_url=f"{url}/sts",
        region_name="eu-west-1",
        aws_access_key_id="AKIAXXXXXXXXXXXXXXXX",
        aws_secret_access_key="x",
    )
    taken = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/r", RoleSessionName="session")
    until: datetime = taken["Credentials"]["Expiration"]
    return until


def chat(url: str) -> Iterator[ChatCompletionChunk]:
    client = OpenAI(base_url=f"{url}/v1", api_key="sk-" + "x" * 40, max_retries=0)
    with client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    ) as stream:
        yield from stream


class Session:
    """What programs do with the API; each method fails where the time is wrong."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self) -> None:
        with requests.Session() as client:
            client.trust_env = False
            self.cookies(client)
            self.files(client)
        with httpx.Client(trust_env=False) as client:
            self.cookies(client)
        self.tokens()
        self.chat()
        left = assumed_until(self.url) - datetime.now(UTC)
        assert timedelta() < left <= timedelta(seconds=TOKEN_S)

    def cookies(self, client: requests.Session | httpx.Client) -> None:
        assert cookies_kept(client, self.url) == ["sid"]

    def tokens(self) -> None:
        """google-auth takes the expiry out of the token, and the caller out of the answer."""
        credentials = service_account(self.url)
        credentials.refresh(GoogleRequest())
        assert credentials.valid
        assert credentials.expiry is not None
        left = credentials.expiry - datetime.now(UTC).replace(tzinfo=None)
        assert timedelta() < left <= timedelta(seconds=TOKEN_S)
        claims = google_jwt.decode(credentials.token, verify=False)
        assert claims["iss"] == "https://i.test"
        # What is past stays with the answer before, if both were recorded in one second.
        assert abs(claims["exp"] - claims["iat"] - TOKEN_S) < COOKIE_S
        assert claims["iat"] <= time.time()

    def files(self, client: requests.Session) -> None:
        """The signed URL is still good, and asking for it finds its recording."""
        got = client.get(f"{self.url}/file")
        file = got.json()
        (date,) = parse_qs(urlsplit(file["url"]).query)["X-Amz-Date"]
        signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert timedelta() <= datetime.now(UTC) - signed < timedelta(seconds=URL_S)
        assert client.get(self.url + file["url"]).text == "content"
        assert 0 <= time.time() - file["created_ms"] / 1000 < URL_S
        said = parsedate_to_datetime(got.headers["Date"])
        assert abs(said - datetime.now(UTC)) < timedelta(seconds=URL_S)
        again = client.get(f"{self.url}/changes", params={"after": file["created_ms"]})
        assert again.status_code == 200

    def chat(self) -> None:
        chunks = list(chat(self.url))
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["hello"]
        assert 0 <= time.time() - chunks[0].created < URL_S


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the recording, a year later."""
    directory = tmp_path_factory.mktemp("old")
    with FakeUpstream(Api()) as upstream, serving(directory, target=upstream.url) as running:
        url = running.url
        with requests.Session() as client:
            client.trust_env = False
            assert cookies_kept(client, url) == [], "it has expired for a year"
            file = client.get(f"{url}/file").json()
            client.get(url + file["url"])
            client.get(f"{url}/changes", params={"after": file["created_ms"]})
            client.get(f"{url}/kept/sid")
        service_account(url).refresh(GoogleRequest())
        list(chat(url))
        assumed_until(url)
    text = json.loads((directory / "c.json").read_text())
    for each in text["interactions"]:
        made = datetime.fromisoformat(each["http"]["recorded_at"]) - LATER
        each["http"]["recorded_at"] = made.isoformat()
    (directory / "c.json").write_text(json.dumps(text))
    return directory


class TestAYearLater:
    def test_the_session_holds_live(self, tmp_path: Path) -> None:
        """Against an API that is not a year old: the assertions are about the time only."""
        with (
            FakeUpstream(Api(timedelta())) as upstream,
            serving(tmp_path, target=upstream.url) as one,
        ):
            Session(one.url).run()

    def test_shifted(self, old: Path) -> None:
        """Again and again."""
        with serving(old, mode="replay", replay_clock="shifted") as running:
            for _ in range(2):
                Session(running.url).run()

    def test_recorded(self, old: Path) -> None:
        """By default the bytes are sacred, and clients see that time has passed."""
        with serving(old, mode="replay") as running:
            with requests.Session() as client:
                client.trust_env = False
                assert cookies_kept(client, running.url) == []
            with pytest.raises(AssertionError):
                Session(running.url).tokens()

    def test_now(self, old: Path) -> None:
        """Fields move, and bodies do not."""
        with serving(old, mode="replay", replay_clock="now") as running:
            with requests.Session() as client:
                client.trust_env = False
                assert cookies_kept(client, running.url) == ["sid"]
                got = client.get(f"{running.url}/file")
            said = parsedate_to_datetime(got.headers["Date"])
            assert abs(said - datetime.now(UTC)) < timedelta(seconds=URL_S)
            assert time.time() - got.json()["created_ms"] / 1000 > LATER.total_seconds() - URL_S

    def test_names_of_the_settings(self, old: Path) -> None:
        clock = {"show": "shifted", "keep": ["created_ms"]}
        with serving(old, mode="replay", replay_clock=clock) as running:
            got = requests.get(f"{running.url}/file", timeout=60).json()
        assert time.time() - got["created_ms"] / 1000 > LATER.total_seconds() - URL_S

    @pytest.mark.skipif(BROWSER is None, reason="chromium is not on this machine")
    def test_a_browser_s_cookies(self, old: Path, tmp_path: Path) -> None:
        """Chromium's own rules; the page asks for the name of what it kept."""
        with (
            serving(old, mode="replay", replay_clock="shifted") as running,
            browsing(f"{running.url}/login", tmp_path),
        ):
            running.wait_for('GET /kept/sid"')


class TestBodies:
    @pytest.mark.parametrize("coding", ["gzip", "br", ""])
    def test_coded_and_chunked(self, tmp_path: Path, coding: str) -> None:
        """The coding, the chunks and the length stay true."""
        was = int(time.time())

        def script(received: Received) -> bytes | Iterator[Step]:
            fields = [(b"Content-Type", b"application/json")]
            if coding:
                fields.append((b"Content-Encoding", coding.encode()))
            parts = [b'{"created": ', b"%d" % (was - 1009), b', "text": "abc"}\n', b'{"exp":1}\n']
            if received.target == b"/whole":
                return answer(encoded(coding.encode(), b"".join(parts)), headers=fields)
            return chunked(list(encoding(coding.encode(), parts, flushed=True)), fields)

        with FakeUpstream(script) as upstream, serving(tmp_path, target=upstream.url) as running:
            for path in ("/whole", "/chunked"):
                requests.get(running.url + path, timeout=60)
        text = json.loads((tmp_path / "c.json").read_text())
        for each in text["interactions"]:
            each["http"]["recorded_at"] = datetime.fromtimestamp(was - 1000, UTC).isoformat()
        (tmp_path / "c.json").write_text(json.dumps(text))
        with serving(tmp_path, mode="replay", replay_clock="shifted") as running:
            for path in ("/whole", "/chunked"):
                got = requests.get(running.url + path, timeout=60)
                first, second = got.text.splitlines()
                assert 9 <= time.time() - json.loads(first)["created"] < 300
                assert second == '{"exp":1}'
                assert got.headers.get("Content-Encoding", "") == coding


class TestSessions:
    def test_messages_of_a_websocket(self, tmp_path: Path) -> None:
        """What the server says moves; what the client says of it matches."""
        was = int(time.time()) - 9

        def talk(connection: ServerConnection) -> None:
            connection.send(json.dumps({"type": "session", "expires_at": was + 600}))
            connection.recv()
            connection.send('{"type": "done"}')

        with serve(talk, "127.0.0.1", 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            target = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            with serving(tmp_path, target=target) as running:
                assert _talk(running.ports[0]) - was == 600
            server.shutdown()
        text = json.loads((tmp_path / "c.json").read_text())
        session = text["interactions"][0]["websocket"]
        session["recorded_at"] = datetime.fromtimestamp(was - 1000, UTC).isoformat()
        (tmp_path / "c.json").write_text(json.dumps(text))
        with serving(tmp_path, mode="replay", replay_clock="shifted") as running:
            assert 1600 <= _talk(running.ports[0]) - was < 1900


def _talk(port: int) -> int:
    """The instant that the server says and the client repeats."""
    with connect(f"ws://127.0.0.1:{port}/live") as client:
        expires_at = int(json.loads(client.recv())["expires_at"])
        client.send(json.dumps({"type": "until", "when": expires_at}))
        assert json.loads(client.recv())["type"] == "done"
    return expires_at
