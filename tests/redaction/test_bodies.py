"""What is found in bodies of real services, what is not, and what is stored of them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buffr.errors import UnsafeRecording
from buffr.formats.codings import encoded
from buffr.interaction import (
    Body,
    Chunk,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.redaction.audit import find_secrets
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

RULES = RedactionRules()
TOKEN = b"tok7f3kX2mP9qLw5vB8"
BEARER = (b"Authorization", b"Bearer " + TOKEN)
JSON = (b"Content-Type", b"application/json")
PEM = (
    b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(bytes(range(96))) + b"-----END RSA "
    b"PRIVATE KEY-----"
)
JWT = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s5fLWq-3kd_0sdfjkl234"


def exchange(
    body: bytes = b"",
    headers: Headers = (JSON,),
    *,
    sent: bytes = b"",
    asked: Headers = (BEARER, JSON),
    target: bytes = b"/",
    chunks: tuple[Chunk, ...] = (),
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"POST", target, asked, Body.of(sent)),
        ResponseHead(200, b"OK", headers),
        Body.of(body),
        chunks,
    )


def stored(interaction: HTTPInteraction, rules: RedactionRules = RULES) -> HTTPInteraction:
    out = Redactor(rules, b"salt").interaction(interaction)
    assert isinstance(out, HTTPInteraction)
    return out


def everything(one: HTTPInteraction) -> bytes:
    request, response = one.request, one.response
    return b"\n".join(
        (
            request.target,
            response.reason,
            request.body.data,
            one.body.data,
            *[b"%b: %b" % field for field in request.headers + response.headers + one.trailers],
        )
    )


FOUND = {
    "oauth": (
        b'{"access_token": "ab", "expires_in": 3600, "refreshToken":"c\\"d"}',
        [b'"ab"', b'c\\"d'],
    ),
    "password": (b'{"user": "me", "password": "hunter2", "pin": 1}', [b"hunter2"]),
    "number": (b'{"password": 12345678}', [b"12345678"]),
    "openai": (b'{"key": "sk-proj-a8Kd93jf0sKd93mfk2Lq"}', [b"a8Kd93jf0sKd93mfk2Lq"]),
    "anthropic": (b"key=sk-ant-api03-a8Kd93jf0sKd93mfk2Lq", [b"a8Kd93jf0sKd93mfk2Lq"]),
    "behind an escape": (b'"line\\nsk-a8Kd93jf0sKd93mfk2Lq"', [b"a8Kd93jf0sKd93mfk2Lq"]),
    "aws": (b"<AccessKeyId>AKIAIOSFODNN7ABCDEFG</AccessKeyId>", [b"AKIAIOSFODNN7ABCDEFG"]),
    "sts": (b"<SecretAccessKey>wJalrXUtnFEMI/K7</SecretAccessKey>", [b"wJalrXUtnFEMI"]),
    "aws settings": (b"aws_secret_access_key = " + b"aB3/" * 10, [b"aB3/" * 10]),
    "github": (b"ghp_" + b"a1B2" * 9, [b"a1B2" * 9]),
    "google": (b"?key=AIza" + b"a1B2c" * 7, [b"a1B2c" * 7]),
    "slack": (b'"token":"xoxb-123456789012-abcdefGHIJ"', [b"abcdefGHIJ"]),
    "stripe": (b"sk_live_" + b"a1B2" * 6, [b"a1B2" * 6]),
    "jwt": (b'{"jwt": "%b"}' % JWT, [b"s5fLWq-3kd_0sdfjkl234"]),
    "pem": (PEM, PEM.split(b"\n")[1:-1]),
    "pem in json": (json.dumps({"k": PEM.decode()}).encode(), PEM.split(b"\n")[1:-1]),
    "tool call": (b'{"arguments": "{\\"api_key\\": \\"s3cr3t\\"}"}', [b"s3cr3t"]),
    "stream": (b'data: {"client_secret":{"value":"ek1","expires_at":2}}\n\n', [b"ek1"]),
    "cut short": (b'{"refresh_token": "abcdef', [b"abcdef"]),
    "signed url": (b'{"url": "https://h/?a=1\\u0026X-Amz-Signature=f00d"}', [b"f00d"]),
    "dsn": (b"postgres://me:pa55@db/x", [b"pa55"]),
    "echoed header": (b'{"headers": {"Authorization": "Basic bWU6eA=="}}', [b"bWU6eA=="]),
    "echoed cookie": (b'{"Cookie": "sid=abc; b=def"}', [b"abc", b"def"]),
    "list": (b'{"password": ["one", "two"]}', [b"one", b"two"]),
}

KEPT = {
    "usage": b'{"max_tokens": 4096, "total_tokens": 12, "token_type": "bearer"}',
    "log probabilities": b'{"content": [{"token": " Hello", "logprob": -0.1, "bytes": [1]}]}',
    "paging": b'{"next_page_token": "CAEQAA", "nextPageToken": "EAAaBlBUOkNB12345678"}',
    "schema": b'{"password": {"type": "string", "description": "The password"}}',
    "labels": b'{"password": "Password", "reset_password": "Reset your password"}',
    "tags": b'{"Tags": [{"Key": "team", "Value": "a"}], "key": "reports/2024/12/january.csv"}',
    "nothing there": b'{"password": "", "secret": null, "api_key": true}',
    "slugs": b"sk-institute-of-technology-and-science-2024 task-force-of-the-century",
    "short": b'{"id": "sk-1", "ghp_": "AKIA", "a": "eyJ.eyJ.x"}',
    "base64": base64.b64encode(bytes(range(256)) * 400),
    "embedding": json.dumps({"embedding": [0.0023, -0.0091, 1e-9] * 500}).encode(),
    "base64url": base64.urlsafe_b64encode(bytes((i * 7919) % 256 for i in range(99999))),
    "image": b"\x89PNG\r\n\x1a\n" + bytes((i * i * 31) % 256 for i in range(50000)),
    "not utf-8": b"\xff\xfe" + "Grüße".encode("latin-1"),
    "stand-ins": b'{"access_token": "REDACTED-access-token-12345678", "password": "REDACTED"}',
}


class TestFound:
    @pytest.mark.parametrize("name", FOUND)
    def test_replaced(self, name: str) -> None:
        """The secret is replaced, the rest stays, and a second search finds nothing."""
        body, secrets = FOUND[name]
        out = stored(exchange(body))
        assert not any(secret in out.body.data for secret in secrets)
        assert b"REDACTED" in out.body.data
        assert everything(stored(out)) == everything(out)
        assert find_secrets(exchange(body, asked=()), RULES)
        assert find_secrets(out, RULES) == []
        if body.startswith((b"{", b"[")) and name != "cut short":
            assert json.loads(out.body.data).keys() == json.loads(body).keys()

    @pytest.mark.parametrize("name", KEPT)
    def test_kept(self, name: str) -> None:
        """What is not a secret keeps every byte, in compressed bodies too."""
        body = KEPT[name]
        assert stored(exchange(body)).body.data == body
        coded = gzip.compress(body, compresslevel=1, mtime=7)
        assert stored(exchange(coded, ((b"Content-Encoding", b"gzip"),))).body.data == coded

    def test_form(self) -> None:
        kind = (b"Content-Type", b"application/x-www-form-urlencoded")
        sent = b"grant_type=password&username=me&pass%77ord=hunter2&sig=x%26y&token=x&z="
        out = stored(exchange(sent=sent, asked=(kind,))).request.body.data
        assert out == (
            b"grant_type=password&username=me&pass%77ord=REDACTED-password&sig=REDACTED-sig&token=x&z="
        )

    def test_multipart(self) -> None:
        kind = (b"Content-Type", b"multipart/form-data; boundary=xx")
        sent = (
            b'--xx\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter2\r\n'
            b'--xx\r\nContent-Disposition: form-data; name="api_key"; filename="password"\r\n'
            b"Content-Type: text/plain\r\n\r\na file stays\r\n"
            b'--xx\r\nContent-Disposition: form-data; name="note"\r\n\r\npassword\r\n--xx--\r\n'
        )
        out = stored(exchange(sent=sent, asked=(kind,))).request.body.data
        assert out == sent.replace(b"hunter2", b"REDACTED-password")

    def test_settings(self) -> None:
        """Names, JSONPaths and patterns of one's own; a path also takes numbers."""
        rules = RedactionRules.with_extra(
            json=["ssn", "$.people[*].born", "$..deep"], patterns=["ticket-([0-9]+)"]
        )
        body = (
            b'{"SSN":"1","people":[{"born": 1984},{"born":"May"}],"x":{"deep":{"a":"b","c":[1]}},'
            b'"t":"ticket-77"}'
        )
        out = stored(exchange(body), rules).body.data
        assert json.loads(out) == {
            "SSN": "REDACTED-ssn",
            "people": [{"born": "REDACTED-born"}, {"born": "REDACTED-born"}],
            "x": {"deep": {"a": "REDACTED-a", "c": ["REDACTED-c"]}},
            "t": "ticket-REDACTED-pattern",
        }
        assert everything(stored(stored(exchange(body), rules), rules)) == everything(
            stored(exchange(body), rules)
        )

    @pytest.mark.parametrize("option", [{"json": ["$.["]}, {"patterns": ["("]}])
    def test_no_rule(self, option: dict[str, list[str]]) -> None:
        """A rule that is not understood is an error: without it secrets would be written."""
        with pytest.raises(ValueError, match=r"json: '\$\.\['|patterns: '\('"):
            stored(exchange(), RedactionRules.with_extra(**option))  # type: ignore[arg-type]


class TestEcho:
    @pytest.mark.parametrize(
        "spelling",
        [
            TOKEN,
            b"xx" + TOKEN + b"yy",
            base64.b64encode(TOKEN),
            base64.b64encode(b"me:" + TOKEN),
            base64.urlsafe_b64encode(b"x" + TOKEN + b"y"),
        ],
    )
    def test_anywhere(self, spelling: bytes) -> None:
        """A live credential is nowhere in what is stored, in no spelling."""
        one = exchange(
            b"body " + spelling,
            ((b"X-Echo", b"it was " + spelling), (b"Content-Length", b"999")),
            sent=b"sent " + spelling,
            target=b"/a/" + spelling + b"/b",
        )
        out = stored(one)
        assert spelling not in everything(out)
        assert b"/a/" in out.request.target
        assert dict(out.response.headers)[b"Content-Length"] == b"%d" % out.body.size_bytes

    def test_escaped(self) -> None:
        """Also percent-encoded, and as JSON escapes it."""
        secret = b"a/b+c=d&e\"f'g<h>i/j1234"
        value = (b"X-Api-Key", secret)
        for body in (
            json.dumps(secret.decode()).encode(),
            json.dumps(secret.decode()).replace("/", "\\/").encode(),
            b"a%2Fb%2Bc%3Dd%26e%22f%27g%3Ch%3Ei%2Fj1234",
            b"a%2fb%2bc%3dd%26e%22f%27g%3ch%3ei%2fj1234",
        ):
            out = stored(exchange(body, (), asked=(value,))).body.data
            assert b"j1234" not in out
            assert b"REDACTED-x-api-key-" in out

    def test_basic(self) -> None:
        """The password of Basic is known decoded."""
        asked = (b"Authorization", b"Basic " + base64.b64encode(b"me:pa55-word"))
        out = stored(exchange(b"<pa55-word>", asked=(asked,)))
        assert out.body.data == b"<REDACTED-authorization>"

    def test_of_the_answer(self) -> None:
        """A cookie that the answer sets is a credential too; a theme or a path is not."""
        secret = b"s3ss10n7f3kX2mP9qLw"
        headers = ((b"Set-Cookie", b"sid=" + secret), (b"Set-Cookie", b"at=/v1/chat/completions12"))
        out = stored(exchange(b"x " + secret + b" /v1/chat/completions12", headers))
        assert secret not in out.body.data
        assert out.body.data.endswith(b" /v1/chat/completions12")

    def test_of_the_request_body(self) -> None:
        """A value that a form or a document sent under a name is not repeated by the answer."""
        said = b"no such client_secret: c1ient5ecret7f3kX2mP9"
        form = (b"Content-Type", b"application/x-www-form-urlencoded")
        for sent, asked in (
            (b"a=1&client_secret=c1ient5ecret7f3kX2mP9", form),
            (b'{"client_secret": "c1ient5ecret7f3kX2mP9"}', JSON),
        ):
            one = exchange(said, ((b"X-Error", said),), sent=sent, asked=(asked,))
            out = stored(one)
            assert b"c1ient5ecret" not in everything(out)
            assert out.body.data.startswith(b"no such client_secret: REDACTED-client-secret")

    def test_of_the_answer_body(self) -> None:
        """A secret in a member of the answer is nowhere else in it."""
        secret = b"acc3ss7f3kX2mP9qLw5v"
        body = b'{"url": "/files/%b/1", "access_token": "%b"}' % (secret, secret)
        out = stored(exchange(body, ((b"X-Also", secret),), sent=b"page " + secret))
        assert secret not in out.body.data
        assert secret not in dict(out.response.headers)[b"X-Also"]
        assert b"/files/REDACTED-access-token" in out.body.data
        assert out.request.body.data == b"page " + secret, "its key knows nothing of the answer"

    def test_of_a_frame(self) -> None:
        """A value that a client sent under a name is not repeated by the server."""
        secret = b"acc3ss7f3kX2mP9qLw5v"
        frames = [
            Frame(direction, FrameKind.TEXT, Body.of(data))
            for direction, data in (
                (Direction.CLIENT, b'{"api_key": "%b"}' % secret),
                (Direction.SERVER, b"you said " + secret),
                (Direction.CLIENT, b"again"),
            )
        ]
        request = RecordedRequest(b"GET", b"/", (), Body.of(b""))
        session = WebSocketInteraction(request, ResponseHead(101, b"", ()), tuple(frames))
        out = Redactor(RULES, b"salt").interaction(session)
        assert isinstance(out, WebSocketInteraction)
        assert secret not in b"".join([frame.data.data for frame in out.frames])

    def test_words_are_not_secrets(self) -> None:
        """A password that is a word, sent under its name, changes nothing in the answer."""
        one = exchange(b"an internationalization", sent=b'{"password": "internationalization"}')
        assert stored(one).body.data == b"an internationalization"

    def test_one_pseudonym(self) -> None:
        """The token that a server gives is the one that the next request sends."""
        given_token = stored(exchange(b'{"access_token": "a-token-of-20-or-more-1"}'))
        sent = stored(exchange(asked=((b"Authorization", b"Bearer a-token-of-20-or-more-1"),)))
        name = json.loads(given_token.body.data)["access_token"]
        assert name.startswith("REDACTED-access-token-")
        assert sent.request.headers[0][1].decode()[-8:] == name[-8:]


class TestCodings:
    @pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, br"])
    def test_encoded_again(self, coding: bytes) -> None:
        plain = b'{"access_token": "abc", "more": "%b"}' % (b"x" * 3000)
        headers = ((b"Content-Encoding", coding), (b"Content-Length", b"1"))
        out = stored(exchange(encoded(coding, plain), headers))
        assert stored(out).body == out.body
        expected = plain.replace(b"abc", b"REDACTED-access-token")
        assert out.body.data == encoded(coding, expected)
        assert dict(out.response.headers)[b"Content-Length"] == b"%d" % out.body.size_bytes

    @pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_wide_json_is_no_document(self, charset: str) -> None:
        """What is not known to be UTF-16 by its first bytes is searched as bytes of any kind."""
        body = '{"中文": "x",\n"note": "y"}'.encode(charset)
        assert stored(exchange(body)).body.data == body
        assert stored(exchange(body), RedactionRules(json=("$.note",))).body.data == body

    def test_cut_in_proportion(self) -> None:
        """What was streamed compressed is streamed again, in no more steps."""
        plain = b'{"access_token": "abc"}' + bytes(range(256)) * 30
        coded = gzip.compress(plain)
        size = len(coded) // 4
        chunks = (Chunk(size, 1), Chunk(size, 2), Chunk(len(coded) - 2 * size, 3))
        out = stored(exchange(coded, ((b"Content-Encoding", b"gzip"),), chunks=chunks))
        assert sum(chunk.size_bytes for chunk in out.chunks) == out.body.size_bytes
        assert [chunk.delay_ms for chunk in out.chunks] == [1, 2, 3]

    @pytest.mark.parametrize(
        ("coding", "body"), [(b"secret-coding", b"?"), (b"gzip", b"\x1f\x8b\x08 no gzip \xff\xfe")]
    )
    def test_unsafe(self, coding: bytes, body: bytes) -> None:
        """A body that cannot be searched is refused, as long as there is a credential."""
        one = exchange(body, ((b"Content-Encoding", coding),))
        with pytest.raises(UnsafeRecording, match=coding.decode()) as refused:
            stored(one)
        assert "redact.unsafe" in str(refused.value)
        said: list[str] = []
        rules = RedactionRules.with_extra(unsafe="warn")
        out = Redactor(rules, b"", said.append).interaction(one)
        assert isinstance(out, HTTPInteraction)
        assert out.body.data == body
        assert coding.decode() in said[0]
        without = exchange(body, ((b"Content-Encoding", coding),), asked=())
        assert stored(without).body.data == body

    @pytest.mark.parametrize(
        "name",
        [b"UTF-8", b"none", b"ISO-8859-1", b"binary", b"amz-1.0", b"text/html; charset=UTF-8"],
    )
    def test_values_that_are_not_codings(self, name: bytes) -> None:
        """Servers write it although no such coding exists: the body is plain, and is searched."""
        headers = ((b"Content-Encoding", name), (b"Content-Type", b"application/json"))
        found = stored(exchange(b'{"access_token": "abc"}', headers))
        assert found.body.data == b'{"access_token": "REDACTED-access-token"}'
        assert stored(exchange(b'{"a": 1}', headers)).body.data == b'{"a": 1}'

    def test_not_coded_at_all(self) -> None:
        """A text that does not match its coding is searched undecoded."""
        out = stored(exchange(b"oops " + TOKEN, ((b"Content-Encoding", b"gzip"),)))
        assert TOKEN not in out.body.data

    def test_part_of_an_upload(self) -> None:
        """The first part of a gzip file ends anywhere, and no field says that it is gzip."""
        part = gzip.compress(random.Random(1).randbytes(4096).hex().encode())[:2000]
        assert stored(exchange(part, ())).body.data == part
        with pytest.raises(UnsafeRecording, match="begins like gzip and contains"):
            stored(exchange(gzip.compress(b'{"password": "hunter2hunter2"}\n') + b"more", ()))

    def test_archive(self) -> None:
        """Files in an archive keep their sizes and digests."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo("settings.json")
            text = b'{"password": "hunter2hunter2"}'
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        assert stored(exchange(packed.getvalue(), ())).body.data == packed.getvalue()

    def test_binary(self) -> None:
        """In a binary body lengths and offsets stay true."""
        body = b"\0\0\0\x40" + TOKEN + b"\0" + PEM + b"\0end"
        out = stored(exchange(body, ()))
        assert len(out.body.data) == len(body)
        assert TOKEN not in out.body.data
        assert b"BEGIN" not in out.body.data
        assert stored(out).body == out.body


SECRETS = st.sampled_from(
    [
        TOKEN,
        b"sk-proj-a8Kd93jf0sKd93mfk2Lq",
        b'"refresh_token": "xyzzyxyzzy"',
        JWT,
        PEM,
    ]
)
CORE = {PEM: PEM.split(b"\n")[2], b'"refresh_token": "xyzzyxyzzy"': b"xyzzyxyzzy"}


class TestSplits:
    @given(SECRETS, st.lists(st.integers(1, 40), min_size=1), st.integers(0, 60))
    def test_chunks(self, secret: bytes, cuts: list[int], before: int) -> None:
        """However a stream was split, the secret is replaced; other bytes and times stay."""
        body = b"data: " + b"x" * before + b" " + secret + b"\n\ndata: [DONE]\n\n"
        sizes = []
        left = len(body)
        for cut in cuts * len(body):
            if left:
                sizes.append(min(cut, left))
                left -= sizes[-1]
        chunks = tuple(Chunk(size, number) for number, size in enumerate(sizes))
        out = stored(exchange(body, ((b"Content-Type", b"text/event-stream"),), chunks=chunks))
        assert CORE.get(secret, secret) not in out.body.data
        assert out.body.data.startswith(b"data: " + b"x" * before)
        assert out.body.data.endswith(b"\n\ndata: [DONE]\n\n")
        assert sum(chunk.size_bytes for chunk in out.chunks) == out.body.size_bytes
        assert all(chunk.size_bytes for chunk in out.chunks)

    @given(SECRETS, st.lists(st.integers(1, 30), min_size=2))
    def test_frames(self, secret: bytes, sizes: list[int]) -> None:
        """A message that came in fragments is stored without the secret, in fragments."""
        data = (b"a" * sum(sizes))[: sum(sizes)] + b" " + secret
        frame = Frame(
            Direction.SERVER,
            FrameKind.TEXT,
            Body.of(data),
            fragments=(*sizes, len(data) - sum(sizes)),
        )
        session = WebSocketInteraction(RecordedRequest(b"GET", b"/", (BEARER,)), frames=(frame,))
        out = Redactor(RULES, b"salt").interaction(session)
        assert isinstance(out, WebSocketInteraction)
        (kept,) = out.frames
        assert CORE.get(secret, secret) not in kept.data.data
        assert sum(kept.fragments) == kept.data.size_bytes

    @settings(max_examples=settings().max_examples // 2)
    @given(secret=SECRETS, offset=st.integers(-120, 120), coding=st.sampled_from([b"", b"gzip"]))
    def test_files(
        self, tmp_path_factory: pytest.TempPathFactory, secret: bytes, offset: int, coding: bytes
    ) -> None:
        """A body in a file is searched in stretches; a secret may span two."""
        at = 256 * 1024 + offset
        plain = b"ab \n" * (at // 4) + b" " + secret + b" " + b"cd \n" * 200_000
        path = tmp_path_factory.mktemp("bodies") / "body"
        path.write_bytes(encoded(coding, plain))
        body = Body(size_bytes=path.stat().st_size, file=path)
        headers: Headers = ((b"Content-Encoding", coding),) if coding else ()
        one = HTTPInteraction(
            RecordedRequest(b"GET", b"/", (BEARER,)), ResponseHead(200, b"OK", headers), body
        )
        redactor = Redactor(RULES, b"salt", spool_dir=path.parent)
        out = redactor.interaction(one)
        data = out.bodies[1].data or _read(out.bodies[1].file)
        text = gzip.decompress(data) if coding else data
        assert CORE.get(secret, secret) not in text
        assert len(text) - text.count(b"REDACTED") > len(plain) - len(secret) - 100
        if not coding:
            assert len(data) == out.bodies[1].size_bytes

    def test_a_file_without_secrets(self, tmp_path: Path) -> None:
        """It is the same file."""
        path = tmp_path / "body"
        path.write_bytes(b"nothing to see\n" * 100_000)
        body = Body(size_bytes=path.stat().st_size, file=path)
        one = HTTPInteraction(
            RecordedRequest(b"GET", b"/", (BEARER,)), ResponseHead(200, b"OK", ()), body
        )
        assert Redactor(RULES, b"salt").interaction(one).bodies[1] is body


def _read(path: Path | None) -> bytes:
    assert path is not None
    return path.read_bytes()
