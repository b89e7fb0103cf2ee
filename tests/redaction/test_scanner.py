"""Hostile texts take no longer than others of their size: keys are made on the reactor."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from time import process_time

import pytest

from buffr.redaction.own_credentials import KnownSecrets, Secret
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import FORM, MULTIPART, Scanner, scanner_of
from buffr.redaction.spans import SecretSpan, replaced

SIZE = 1 << 19
SECONDS = 20.0  # of the processor, however busy it is; a fault of growth takes minutes
"""Many times what any of them takes, and less than reading on to the end each time does."""

NAME = b"content-disposition: form-data; name="
DEEPER = b"".join(b'"password":' + b"\\" * depth + b'"' for depth in range(1, 1500))


def found(
    text: bytes, media_type: bytes = b"", rules: RedactionRules | None = None
) -> list[SecretSpan]:
    return Scanner(rules or RedactionRules()).in_body(text, media_type)


class TestTime:
    @pytest.mark.parametrize(
        ("text", "media_type"),
        [
            (NAME + b"password\r\n\r\n", MULTIPART),
            (NAME + b"token\r\n\r\n", MULTIPART),
            (b"&password=", FORM),
            (b"&key=x", FORM),
            (b";key=x", FORM),
            (b'"password":"x",', b""),
            (b'"password":["x",', b""),
            (b'"password":\\"', b""),
            (b"-----BEGIN PRIVATE KEY-----", b""),
            (b"<password>", b""),
            (b"sk-", b""),
            (b"eyJhbGciOiJIUzI1NiJ9.", b""),
            (b"://a:", b""),
        ],
    )
    def test_thousands_of_candidates(self, text: bytes, media_type: bytes) -> None:
        body = text * (SIZE // len(text))
        before = process_time()
        found(body, media_type)
        assert process_time() - before < SECONDS

    def test_each_deeper_than_the_last(self) -> None:
        before = process_time()
        assert found(DEEPER)
        assert process_time() - before < SECONDS

    def test_thousands_of_places(self) -> None:
        body = json.dumps([{"mail": f"{number}@example.test"} for number in range(12000)]).encode()
        rules = RedactionRules.with_extra(json=["$..mail"])
        before = process_time()
        assert len(found(body, rules=rules)) == 12000
        assert process_time() - before < SECONDS


class TestParts:
    def test_each_has_its_own_value(self) -> None:
        parts = [b"--b\r\n" + NAME + name + b"\r\n\r\n" for name in (b"password", b"note")]
        text = b"%bhunter2\r\n%bseen\r\n%bhunter3\r\n--b--\r\n" % (*parts, parts[0])
        assert [one.secret for one in found(text, MULTIPART)] == [b"hunter2", b"hunter3"]

    def test_data_hides_no_credential(self) -> None:
        """A value that is data is searched too, if a name inside it is unambiguous."""
        text = NAME + b"token\r\n\r\nen " + NAME + b"password\r\n\r\nhunter2"
        assert [one.secret for one in found(text, MULTIPART)] == [b"hunter2"]

    def test_no_end(self) -> None:
        text = NAME + b"password\r\n\r\nhunter2 " + NAME + b"token\r\n\r\nhunter3"
        secrets = found(text, MULTIPART)
        assert b"hunter" not in replaced(text, secrets, lambda _: b"REDACTED")[0]


class TestNesting:
    @pytest.mark.parametrize("depth", range(9))
    def test_any_number_of_backslashes(self, depth: int) -> None:
        """Those of JSON in JSON, and those of nothing that is known."""
        quote = b"\\" * depth + b'"'
        text = b'{"a": "%bpassword%b: %bhunter2hunter2%b, ...' % ((quote,) * 4)
        assert [one.secret for one in found(text)] == [b"hunter2hunter2"]

    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    def test_cut_off(self, depth: int) -> None:
        quote = b"\\" * depth + b'"'
        text = b"%bpassword%b:%bhunter2hunter2" % (quote, quote, quote)
        assert [one.secret for one in found(text)] == [b"hunter2hunter2"]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_images_in_base64(encode: Callable[[bytes], bytes]) -> None:
    """As requests to models carry them: tokens' patterns are not tried on all of it."""
    scanner = Scanner(RedactionRules())
    token = b"ghp_" + b"a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    image = encode(random.Random(1).randbytes(3 * SIZE))
    text = b'{"note": "%b", "image": "%b", "other": "%b"}' % (token, image, token)
    started = process_time()
    found = scanner.in_body(text, b"application/json")
    assert process_time() - started < SECONDS
    assert [one.secret for one in found] == [token, token]


def test_lists_of_ids() -> None:
    """Random digits all over a text: a screen that counted them had a state for each way."""
    ids = json.dumps([random.Random(n).randbytes(16).hex() for n in range(3 * SIZE // 36)])
    scanner = Scanner(RedactionRules())
    started = process_time()
    assert not scanner.in_body(ids.encode(), b"application/json")
    assert process_time() - started < SECONDS


class TestLinear:
    """Texts on which a search that gives characters back would take minutes."""

    @pytest.mark.parametrize("escape", [b" %41", b" \\u0041"])
    @pytest.mark.parametrize("unit", [b"a", b"a=", b"aB3/", b"%zz", b"\\"])
    def test_long_plain_text_beside_an_escape_is_looked_at_once(
        self, unit: bytes, escape: bytes
    ) -> None:
        text = unit * (1_000_000 // len(unit)) + escape
        assert scanner_of(RedactionRules()).in_body(text, b"text/plain") == []


class TestRemembered:
    """A text in which nothing is shown is not searched again for names and shapes."""

    TEXT = b'{"greeting": "hello to amsterdam-rotterdam"}'

    @pytest.mark.parametrize("quickly", [True, False])
    def test_a_secret_that_another_part_reveals_is_still_found(self, quickly: bool) -> None:
        scanner = Scanner(RedactionRules())
        if quickly:
            assert scanner.is_clear(self.TEXT, b"application/json")
        assert scanner.in_body(self.TEXT, b"application/json") == []
        known = KnownSecrets((Secret(b"amsterdam-rotterdam", b"authorization"),))
        assert not scanner.is_clear(self.TEXT, b"application/json", known)
        (one,) = scanner.in_body(self.TEXT, b"application/json", known)
        assert one.secret == b"amsterdam-rotterdam"

    def test_nor_does_it_hide_what_a_form_says(self) -> None:
        text = b"passphrase=none"
        scanner = Scanner(RedactionRules())
        assert scanner.in_body(text, b"") == scanner.in_body(text, b"") == []
        assert [one.secret for one in scanner.in_body(text, FORM)] == [b"none"]


class TestZeros:
    SECRET = b"sk-ant-Zk9xQ2mW7vR4tB8nZk9x"

    @pytest.mark.parametrize("size", [16 * 1024, SIZE])
    def test_what_is_beside_them_is_found(self, size: int) -> None:
        zeros = bytes(size)
        assert not found(zeros)
        for text in (zeros + self.SECRET, self.SECRET + zeros):
            assert [one.secret for one in found(text)] == [self.SECRET]

    def test_a_pattern_may_mean_them(self) -> None:
        rules = RedactionRules.with_extra(patterns=[r"\x00{4}"])
        assert len(found(bytes(16 * 1024), rules=rules)) == 4 * 1024
