"""What is new for each request below the surface of a body makes no difference; the rest does."""

from __future__ import annotations

import email.policy
import gzip
from collections.abc import Callable
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.body import BodyKind, BodyRules
from buffr.matching.json_fields import JSONFields
from buffr.matching.rules import Normalisation

RULES = BodyRules(json=JSONFields(tokens=True))
EXACT = BodyRules(normalise=Normalisation(multipart=False, content_coding=False))
UUIDS = ("0b0a9a6e-3c0f-4d1e-9a5b-5f2f6f0c7d11", "c6f1f7a2-8f0e-4b57-8f3e-2f1d9e3a4b90")


def value(
    content_type: bytes, body: bytes, codings: bytes = b"", rules: BodyRules = RULES
) -> bytes:
    return rules.value(BodyKind(content_type, codings), body)


def parts(boundary: bytes, *texts: bytes, line: bytes = b"\r\n") -> bytes:
    written = [b"--" + boundary + line + text + line for text in texts]
    return b"".join(written) + b"--" + boundary + b"--" + line


class TestNested:
    """Multipart within multipart, at any depth."""

    def nested(self, outer: bytes, inner: bytes, content: bytes = b"A") -> bytes:
        inside = parts(inner, b"\r\n" + content, b"\r\nB")
        head = (
            b'Content-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; boundary='
        )
        return value(
            b"multipart/form-data; boundary=" + outer,
            parts(outer, head + inner + b"\r\n\r\n" + inside),
        )

    def test_inner_boundaries(self) -> None:
        assert self.nested(b"A1", b"B1") == self.nested(b"A2", b"B2") == self.nested(b"A", b"AA")
        assert self.nested(b"A1", b"B1") != self.nested(b"A1", b"B1", b"C")

    def test_three_levels(self) -> None:
        def made(*boundaries: bytes) -> bytes:
            one, two, three = boundaries
            inner = parts(three, b"\r\nhello")
            alternative = b"Content-Type: multipart/alternative; boundary=" + three
            middle = parts(two, alternative + b"\r\n\r\n" + inner)
            mixed = b'Content-Type: multipart/mixed; boundary="%b"' % two
            outer = parts(one, mixed + b"\r\n\r\n" + middle)
            return value(b"multipart/related; boundary=" + one, outer)

        assert made(b"1", b"2", b"3") == made(b"x", b"y", b"z")

    @given(
        st.lists(st.binary(max_size=20), min_size=1, max_size=3),
        st.lists(st.binary(max_size=20), min_size=1, max_size=3),
    )
    def test_different_contents_stay_different(self, one: list[bytes], other: list[bytes]) -> None:
        def made(contents: list[bytes], boundary: bytes) -> bytes:
            written = parts(boundary, *[b"\r\n" + content for content in contents])
            return value(b"multipart/mixed; boundary=" + boundary, written)

        assert (made(one, b"one-one") == made(other, b"two-two")) is (one == other)

    def test_contents_that_read_like_parts(self) -> None:
        """As buffr itself writes them in its one spelling."""
        apart = value(b"multipart/mixed; boundary=b", parts(b"b", b"\r\n1", b"\r\n2"))
        assert b"--<boundary>" in apart
        for stand_in in (b"--<boundary>", b"--<<boundary>"):
            like = b"\r\n1\r\n" + stand_in + b"\r\n\r\n2"
            assert value(b"multipart/mixed; boundary=b", parts(b"b", like)) != apart

    def test_switched_off(self) -> None:
        """Then it is the bytes."""
        body = parts(b"b", b"\r\n1")
        assert value(b"multipart/mixed; boundary=b", body, rules=EXACT) == body


def google_batch(
    boundary: bytes, ident: bytes, body: bytes = b'{"b": 1, "a": 2}', line: bytes = b"\n"
) -> bytes:
    """As googleapiclient's ``BatchHttpRequest`` writes it, with bare line feeds."""
    fields = [
        b"Content-Type: application/http",
        b"MIME-Version: 1.0",
        b"Content-Transfer-Encoding: binary",
    ]
    inner = [
        b"POST /drive/v3/files/x/permissions?alt=json HTTP/1.1",
        b"Content-Type: application/json",
        b"Host: www.googleapis.com",
        b"Content-Length: %d" % len(body),
        b"Authorization: Bearer " + ident,
        b"",
        body,
    ]
    texts = [
        line.join([*fields, b"Content-ID: <%b + %d>" % (ident, number), b"", *inner])
        for number in (1, 2)
    ]
    return parts(boundary, *texts, line=line)


class TestBatch:
    MIXED = b"multipart/mixed; boundary="

    def batch(self, ident: str, boundary: str, **more: bytes) -> bytes:
        made = google_batch(boundary.encode(), ident.encode(), **more)
        return value(self.MIXED + b'"%b"' % boundary.encode(), made)

    def test_identifiers_dates_and_lengths(self) -> None:
        one = self.batch(
            "b29c5de2-0db4-490b-b421-6a51b598bd22", "===============7330845974216740156=="
        )
        assert one == self.batch(str(uuid4()), "===============1234567890123456789==")
        assert one == self.batch("u", "b", line=b"\r\n")

    def test_json_within_a_request(self) -> None:
        """It has its one spelling there, too."""
        one = self.batch("x", "b")
        assert one == self.batch("y", "b", body=b'{"a":2,"b":1}')
        assert one != self.batch("y", "b", body=b'{"a":2,"b":1.0}')

    def test_rules_for_json_apply_there(self) -> None:
        fields, _ = JSONFields.of(("$.nonce",))
        rules = BodyRules(json=fields)
        made = {
            value(self.MIXED + b"b", google_batch(b"b", b"x", body), rules=rules)
            for body in (b'{"a":1,"nonce":1}', b'{"a":1,"nonce":2}', b'{"a":1}')
        }
        assert len(made) == 1

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"POST /drive", b"PUT /drive"),
            (b"/files/x/", b"/files/y/"),
            (b"application/http", b"application/https"),
            (b"Host: www.googleapis.com", b"X-HTTP-Method-Override: PATCH"),
        ],
    )
    def test_the_request_in_a_part_counts(self, old: bytes, new: bytes) -> None:
        one = google_batch(b"b", b"x")
        assert value(self.MIXED + b"b", one) != value(self.MIXED + b"b", one.replace(old, new))

    def test_the_order_counts(self) -> None:
        texts = [
            b"Content-Type: application/http\r\nContent-ID: <%d>\r\n\r\nGET /%d HTTP/1.1\r\n\r\n"
            % (number, number)
            for number in (1, 2)
        ]
        made = [value(self.MIXED + b"b", parts(b"b", *each)) for each in (texts, texts[::-1])]
        assert made[0] != made[1]

    @pytest.mark.parametrize(
        ("one", "other"),
        [("a", "b"), ("root@host", "x%y"), UUIDS, ("a", UUIDS[0])],
    )
    def test_references_stay_references(self, one: str, other: str) -> None:
        """To the same part they are the same, to another part they are not."""

        def made(first: str, second: str, refers_to: str) -> bytes:
            root = (
                b"Content-Type: application/xop+xml\r\nContent-ID: <%b>\r\n\r\n"
                b'<a><xop:Include href="cid:%b"/></a>'
            ) % (first.encode(), refers_to.encode())
            image = b"Content-ID: <%b>\r\nContent-Type: image/png\r\n\r\n\x89PNG" % second.encode()
            start = b'multipart/related; start="<%b>"; boundary=b' % first.encode()
            return value(start, parts(b"b", root, image))

        assert made(one, other, other) == made(other, one, one)
        assert made(one, other, other) != made(one, other, one)

    def test_a_part_that_is_not_a_request(self) -> None:
        """Its bytes are compared."""
        text = b"Content-Type: application/http\r\nContent-ID: <%b>\r\n\r\nnot: a\r\nrequest"
        made = {value(self.MIXED + b"b", parts(b"b", text % ident)) for ident in (b"x", b"y")}
        assert len(made) == 1


class TestMail:
    def mail(self, subject: str = "Hello", text: str = "one") -> bytes:
        """A message with an attachment, of random boundaries."""
        root = MIMEMultipart("mixed")
        alternative = MIMEMultipart("alternative")
        for kind in ("plain", "html"):
            alternative.attach(MIMEText(text, kind))
        root.attach(alternative)
        attached = MIMEBase("application", "octet-stream")
        attached.set_payload(b"\x00\x01")
        root.attach(attached)
        root["Subject"] = subject
        root["Date"] = f"Mon, 03 Feb 2025 10:00:0{len(str(uuid4())) % 10} +0000"
        root["Message-ID"] = f"<{uuid4()}@host>"
        return root.as_bytes(policy=email.policy.compat32)

    def test_sent_twice(self) -> None:
        """As the body, and as a part of an upload."""
        for wrapped in (self.bare, self.in_upload):
            assert wrapped(self.mail()) == wrapped(self.mail())
            assert wrapped(self.mail()) != wrapped(self.mail(subject="Bye"))
            assert wrapped(self.mail()) != wrapped(self.mail(text="two"))

    def bare(self, mail: bytes) -> bytes:
        return value(b"message/rfc822", mail)

    def in_upload(self, mail: bytes) -> bytes:
        boundary = uuid4().hex.encode()
        metadata = b'Content-Type: application/json; charset=UTF-8\r\n\r\n{"labelIds": ["INBOX"]}'
        media = b"Content-Type: message/rfc822\r\n\r\n" + mail
        return value(b"multipart/related; boundary=" + boundary, parts(boundary, metadata, media))


class TestUpload:
    """``multipart/related``, as Google Drive's uploads are."""

    def upload(self, metadata: bytes, media: bytes, boundary: bytes) -> bytes:
        return value(
            b"multipart/related; boundary=" + boundary,
            parts(
                boundary,
                b"Content-Type: application/json\r\nMIME-Version: 1.0\r\n\r\n" + metadata,
                b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n" + media,
            ),
        )

    def test_metadata_has_one_spelling(self) -> None:
        one = self.upload(b'{"name": "x", "parents": []}', b"\x89PNG\r\n--\x00", b"aaa")
        assert one == self.upload(b'{"parents":[],"name":"x"}', b"\x89PNG\r\n--\x00", b"bbb")
        assert one != self.upload(b'{"parents":[],"name":"y"}', b"\x89PNG\r\n--\x00", b"bbb")
        assert one != self.upload(b'{"parents":[],"name":"x"}', b"\x89PNG\n--\x00", b"bbb")


def signed(
    payload: bytes, signature: bytes, size: int = 5, trailers: bytes = b"", *, sign: bool = True
) -> bytes:
    """A body in AWS's chunks of some size."""
    signs = b";chunk-signature=" + signature * 64 if sign else b""
    chunks = [payload[at : at + size] for at in range(0, len(payload), size)]
    heads = [b"%x%b\r\n%b\r\n" % (len(chunk), signs, chunk) for chunk in chunks]
    return b"".join(heads) + b"0%b\r\n" % signs + trailers + b"\r\n"


CHECKSUM = b"x-amz-checksum-crc32:AAAAAA==\r\n"


class TestAWSChunked:
    @given(st.binary(max_size=40), st.binary(max_size=40), st.integers(1, 50), st.integers(1, 50))
    def test_the_payload_counts(self, one: bytes, other: bytes, size: int, size2: int) -> None:
        """Neither signatures nor sizes of chunks do."""
        made = value(b"", signed(one, b"a", size), b"aws-chunked")
        assert (made == value(b"", signed(other, b"b", size2), b"aws-chunked")) is (one == other)
        assert made == value(b"", signed(one, b"", size2, sign=False), b"aws-chunked")

    def test_checksums_after_it_stay(self) -> None:
        """But for the signature that is new each time."""
        made = [
            value(b"", signed(b"hello", sign, trailers=trailers), b"aws-chunked")
            for sign, trailers in (
                (b"a", CHECKSUM + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n"),
                (b"b", CHECKSUM + b"x-amz-trailer-signature:" + b"1" * 64 + b"\r\n"),
                (b"b", CHECKSUM.replace(b"A=", b"B=")),
                (b"b", b""),
            )
        ]
        assert made[0] == made[1]
        assert len(set(made)) == 3

    def test_no_payload_spells_trailers(self) -> None:
        told = value(b"", signed(b"hello", b"a", trailers=CHECKSUM), b"aws-chunked")
        assert value(b"", told) != told
        assert value(b"", signed(told, b"a", 99), b"aws-chunked") != told

    def test_a_payload_is_compared_by_its_meaning(self) -> None:
        """JSON and content codings within the chunks."""
        made = {
            value(b"application/json", signed(body, b"a"), codings)
            for body, codings in (
                (b'{"a": 1, "b": 2}', b"aws-chunked"),
                (b'{"b":2,"a":1}', b"aws-chunked"),
                (gzip.compress(b'{"b":2,"a":1}'), b"aws-chunked,gzip"),
                (gzip.compress(b'{"b":2, "a":1}'), b"gzip, aws-chunked"),
            )
        }
        assert made == {b'{"a":1,"b":2}'}

    def test_a_credential_within(self) -> None:
        """What was replaced in a stored body makes its chunks' sizes wrong."""
        token = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
        live = signed(b"my " + token + b" here", b"a", 99)
        for sign in (b"a", b"b"):
            again = signed(b"my " + token + b" here", sign, 99)
            assert value(
                b"", again.replace(token, b"REDACTED-github-0a1b2c3d"), b"aws-chunked"
            ) == (value(b"", live, b"aws-chunked"))

    @pytest.mark.parametrize(
        "body",
        [
            b"hello",
            b"5\r\nhello",
            b"5\r\nhello\r\n",
            b"6\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhelloxx0\r\n\r\n",
            b"0\r\nno field\r\n\r\n",
            b"5;chunk-signature=\r\nhello\r\n0\r\n\r\n",
        ],
    )
    def test_a_body_without_chunks(self, body: bytes) -> None:
        """Its bytes are compared."""
        assert value(b"", body, b"aws-chunked") == body

    @given(st.binary(max_size=60))
    def test_hostile(self, body: bytes) -> None:
        value(b"", body, b"aws-chunked")
        value(b"", b"5;chunk-signature=" + b"a" * 64 + b"\r\n" + body, b"aws-chunked")

    def test_switched_off(self) -> None:
        body = signed(b"hello", b"a")
        assert value(b"", body, b"aws-chunked", EXACT) == body


Made = Callable[[str], bytes]


class TestTokens:
    """What a program generates so that a retry is not a second call."""

    JSON: Made = staticmethod(
        lambda token: b'{"Name": "x", "In": [{"ClientToken": "%b"}]}' % token.encode()
    )
    FORM: Made = staticmethod(lambda token: b"Action=Run&A.ClientToken=%b&B=1" % token.encode())
    XML: Made = staticmethod(
        lambda token: b"<C><CallerReference>%b</CallerReference><B>1</B></C>" % token.encode()
    )
    PARTS: Made = staticmethod(
        lambda token: parts(
            b"b", b'Content-Disposition: form-data; name="idempotency_key"\r\n\r\n' + token.encode()
        )
    )
    CBOR: Made = staticmethod(
        lambda token: b"\xa1\x6bclientToken\x78%c%b" % (len(token), token.encode())
    )
    BODIES: tuple[tuple[bytes, Made], ...] = (
        (b"application/x-amz-json-1.1", JSON),
        (b"application/x-www-form-urlencoded", FORM),
        (b"application/xml", XML),
        (b"multipart/form-data; boundary=b", PARTS),
        (b"application/cbor", CBOR),
    )

    @pytest.mark.parametrize(("content_type", "made"), BODIES)
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            UUIDS,
            tuple(one.replace("-", "") for one in UUIDS),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"),
            ("cli-1700000000-123456", "cli-1712345678-654321"),
            ("aB3dE5gH7jK9mN1pQ3sT5", "xY1zA2bC3dE4fG5hI6jK7"),
            ("terraform-20250101120000000000000001", "terraform-20250101120000000000000002"),
        ],
    )
    def test_generated_ones_do_not_count(
        self, content_type: bytes, made: Made, one: str, other: str
    ) -> None:
        assert value(content_type, made(one)) == value(content_type, made(other))

    @pytest.mark.parametrize(("content_type", "made"), BODIES)
    @pytest.mark.parametrize(
        ("one", "other"),
        [("first-order-of-x", "second-order-of-x"), ("invoice-0001", "invoice-0002")],
    )
    def test_chosen_ones_count(self, content_type: bytes, made: Made, one: str, other: str) -> None:
        """In JSON ``ClientToken`` has a credential's name, and all of these are one."""
        a_credential = made(one).startswith(b"{")
        assert (value(content_type, made(one)) == value(content_type, made(other))) is a_credential
        called = [made(token).replace(b"ClientToken", b"idempotency_key") for token in (one, other)]
        assert value(content_type, called[0]) != value(content_type, called[1])

    @pytest.mark.parametrize("name", ["requestId", "QueryExecutionId", "token", "id", "Token"])
    def test_other_names_count(self, name: str) -> None:
        """In some operation they mean what is requested."""
        made = [value(b"", b'{"%b": "%b"}' % (name.encode(), uuid4().hex.encode())) for _ in "12"]
        assert name == "token" or made[0] != made[1]

    def test_switched_off(self) -> None:
        body = self.JSON(str(uuid4()))
        rules = BodyRules(json=JSONFields(tokens=False))
        assert uuid4().hex not in value(b"", body, rules=rules).decode()
        assert b"ClientToken" in value(b"", body, rules=rules)
