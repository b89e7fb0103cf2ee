"""What redaction replaces, what it keeps, and that no planted secret survives it."""

from __future__ import annotations

import re
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead
from buffr.redaction.own_credentials import KnownSecrets, Secret
from buffr.redaction.pseudonym import is_pseudonym, pseudonym
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import CREDENTIAL_HEADERS, RedactionRules

SALT = b"salt of a cassette"
LONG = b"sk-proj-0123456789abcdefghij"
PLAIN = b"req_0123456789abcdefghij"
REDACTOR = Redactor(RedactionRules(), SALT)
HEX8 = rb"[0-9a-f]{8}"


def redacted(name: bytes, value: bytes) -> bytes:
    ((kept, out),) = REDACTOR.headers(((name, value),))
    assert kept == name
    return out


def matches(pattern: bytes, value: bytes) -> bool:
    return re.fullmatch(pattern, value) is not None


class TestCredentialHeaders:
    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            (b"Authorization", b"Bearer " + LONG, rb"Bearer REDACTED-authorization-" + HEX8),
            (b"AUTHORIZATION", b"bearer  " + LONG, rb"bearer  REDACTED-authorization-" + HEX8),
            (b"X-Api-Key", LONG, rb"REDACTED-x-api-key-" + HEX8),
            (b"X-Acme-API-Key", LONG, rb"REDACTED-x-acme-api-key-" + HEX8),
            (b"Authorization", b"Bearer short", rb"Bearer REDACTED-authorization"),
            (b"Authorization", b"Basic " + LONG, rb"Basic REDACTED-authorization"),
            (b"Authorization", b"Digest username=x, response=" + LONG, rb"Digest REDACTED-.*"),
            (b"Authorization", b"hunter2 " + LONG, rb"REDACTED-authorization"),
            (b"Authorization", b"Bearer", rb"Bearer"),
            (b"Authorization", b"", rb""),
            (b"X-Password", LONG, rb"REDACTED-x-password"),
        ],
    )
    def test_known_shapes(self, name: bytes, value: bytes, stored: bytes) -> None:
        """A scheme stays, a secret is replaced, with a digest only if it does not help to guess."""
        assert matches(stored, redacted(name, value))

    def test_aws_signature(self) -> None:
        """Parameters after a scheme are replaced as a whole."""
        value = b"AWS4-HMAC-SHA256 Credential=AKIA/20240101/eu/s3/aws4_request, Signature=fe5f80"
        assert redacted(b"Authorization", value) == b"AWS4-HMAC-SHA256 REDACTED-authorization"

    def test_one_secret_one_pseudonym(self) -> None:
        """A secret has the same digest in two headers, and another one with another salt."""
        one, two = redacted(b"Authorization", b"Bearer " + LONG), redacted(b"X-Api-Key", LONG)
        assert one[-8:] == two[-8:]
        other = Redactor(RedactionRules(), b"other").headers(((b"X-Api-Key", LONG),))
        assert other[0][1] != two

    def test_other_headers_stay(self) -> None:
        """Fields without a credential keep every byte, their order and their case."""
        headers = ((b"ACCEPT", b"*/*"), (b"x-request-id", PLAIN), (b"Accept", b"a;key=" + PLAIN))
        assert REDACTOR.headers(headers) == headers


class TestCookies:
    def test_each_cookie_on_its_own(self) -> None:
        """Names and separators stay."""
        value = redacted(b"Cookie", b"a=" + LONG + b"; b=short;c=")
        assert matches(rb"a=REDACTED-a-" + HEX8 + rb"; b=REDACTED-b;c=", value)

    def test_attributes_stay(self) -> None:
        """Set-Cookie keeps the cookie's attributes."""
        tail = (
            b"; Path=/app; Domain=example.org; Expires=Wed, 21 Oct 2026 07:28:00 GMT"
            b"; Max-Age=-1; Secure; HttpOnly;SameSite=Lax; Partitioned; Priority=High"
        )
        value = redacted(b"Set-Cookie", b"sid=" + LONG + tail)
        assert matches(rb"sid=REDACTED-sid-" + HEX8 + re.escape(tail), value)

    def test_flow(self) -> None:
        """A cookie that was set and is sent back has one pseudonym."""
        was_set = redacted(b"Set-Cookie", b"sid=" + LONG + b"; Path=/")
        assert was_set.startswith(redacted(b"Cookie", b"sid=" + LONG))

    def test_deletion_keeps_the_name(self) -> None:
        """A cookie without a value is a deletion, and contains no secret."""
        assert redacted(b"Set-Cookie", b"sid=; Max-Age=0") == b"sid=; Max-Age=0"

    @pytest.mark.parametrize(
        "value",
        [
            LONG,
            b"=" + LONG,
            LONG + b"==",
            b"a b" + LONG + b"=1",
            b'a="x;' + LONG + b'"; Path=/',
            b"a=1; Path=/, b=" + LONG,
            b"a=1; Expires=" + LONG,
            b"a=1; Secure=" + LONG,
            LONG + b"=",
        ],
    )
    @pytest.mark.parametrize("name", [b"Cookie", b"Set-Cookie"])
    def test_malformed(self, name: bytes, value: bytes) -> None:
        """What cannot be read as a cookie is replaced whole."""
        assert LONG not in redacted(name, value)


class TestQuery:
    @pytest.mark.parametrize(
        "name",
        [
            b"key",
            b"API_KEY",
            b"apiKey",
            b"%6bey",
            b"k%65y",
            b"api-key",
            b"access_token",
            b"sig",
            b"X-Amz-Signature",
            b"key[]",
            b"key%5B0%5D",
            b"user[password]",
            b"db_password",
        ],
    )
    def test_names(self, name: bytes) -> None:
        """Case, separators, percent-encoding and nesting hide no credential."""
        out = REDACTOR.target(b"/p?a=1&" + name + b"=" + LONG + b"&b=2")
        assert out.startswith(b"/p?a=1&" + name + b"=REDACTED-")
        assert out.endswith(b"&b=2")
        assert LONG not in out

    @pytest.mark.parametrize(
        "target",
        [
            b"/p",
            b"/p?",
            b"/p?key",
            b"/p?key=",
            b"*",
            b"/p?a=1&a=2&&",
            b"/p?filter[key]=name",
            b"/p?monkey=1&keyboard=2&page_token=3&=4",
            b"/p;key=1?x",
            b"//a/../%2F?%41=%zz",
        ],
    )
    def test_others_stay(self, target: bytes) -> None:
        """Order, duplicates, flags and encodings of all other fields are untouched."""
        assert REDACTOR.target(target) == target

    @pytest.mark.parametrize(
        "query",
        [
            b"a=1;key=%b",
            b"key=x;%b",
            b"key=x?%b",
            b"a=1?key=%b",
            b"key=x=%b",
            b"a#key=%b",
            b"a%%23key=%b",
        ],
    )
    def test_hidden(self, query: bytes) -> None:
        """A value reaches to the next ampersand, whatever else some server splits at."""
        assert LONG not in REDACTOR.target(b"/p?" + query % LONG)

    def test_digest_is_of_the_decoded_value(self) -> None:
        """A token in a header and percent-encoded in a query have one digest."""
        secret = b"abc+def/ghi=0123456789"
        target = REDACTOR.target(b"/?access_token=abc%2Bdef%2Fghi%3D0123456789")
        assert target[-8:] == redacted(b"X-Token", secret)[-8:]


class TestURLHeaders:
    @pytest.mark.parametrize("name", [b"Location", b"Content-Location", b"Referer", b"Refresh"])
    @pytest.mark.parametrize(
        "value",
        [
            b"https://h/p?a=1&key=%b",
            b"/cb#access_token=%b&state=1",
            b"https://u:%b@h/p",
            b"5; url=http://h/?token=%b",
            b'/p?key=a"%b',
            b"/p?key=a b%b",
            b"/p?key=a<%b>",
        ],
    )
    def test_urls(self, name: bytes, value: bytes) -> None:
        """Query, fragment and userinfo are redacted like a request's own."""
        out = redacted(name, value % LONG)
        assert LONG not in out
        assert b"REDACTED-" in out

    def test_fragment_stays(self) -> None:
        """A fragment ends a value, and an ordinary one stays."""
        assert matches(
            rb"/p\?key=REDACTED-openai-key-" + HEX8 + rb"#top",
            redacted(b"Location", b"/p?key=" + LONG + b"#top"),
        )

    def test_links(self) -> None:
        """Each URL of a Link is redacted; the parameters stay."""
        value = b'<https://h/p?key=%b&page=2>; rel="next", <https://h/p?page=9>; rel=last' % LONG
        out = redacted(b"Link", value)
        assert matches(
            rb"<https://h/p\?key=REDACTED-openai-key-"
            + HEX8
            + rb'&page=2>; rel="next", <https://h/p\?page=9>; rel=last',
            out,
        )

    @pytest.mark.parametrize("value", [b"</p?key=a>%b", b'/p?key=a"%b', b'</p?key=a;"x>%b"'])
    def test_malformed_links(self, value: bytes) -> None:
        """A Link that cannot be read is taken for one URL."""
        assert LONG not in redacted(b"Link", value % LONG)


class TestInteraction:
    def test_everywhere(self) -> None:
        """Request target and headers, response headers and trailers."""
        headers = ((b"X-Api-Key", LONG), (b"A", b"1"))
        interaction = HTTPInteraction(
            RecordedRequest(b"GET", b"/?key=" + LONG, headers),
            ResponseHead(200, b"OK", ((b"Set-Cookie", b"a=" + LONG),)),
            trailers=headers,
        )
        out = REDACTOR.interaction(interaction)
        assert isinstance(out, HTTPInteraction)
        stored: Headers = (*out.request.headers, *out.response.headers, *out.trailers)
        assert LONG not in out.request.target
        assert all(LONG not in value for _, value in stored)
        assert (out.response.status, out.response.reason) == (200, b"OK")

    def test_disabled(self) -> None:
        """With redaction off everything passes unchanged."""
        redactor = Redactor(RedactionRules(enabled=False), SALT)
        interaction = HTTPInteraction(
            RecordedRequest(b"GET", b"/?key=" + LONG, ((b"X-Api-Key", LONG),)),
            ResponseHead(200, b"OK", ()),
        )
        assert redactor.interaction(interaction) is interaction
        assert redactor.target(b"/?key=1") == b"/?key=1"

    def test_extra_names(self) -> None:
        """Names from the settings join the defaults."""
        rules = RedactionRules.with_extra(headers=["X-Acme"], fields=["my_Code"])
        redactor = Redactor(rules, SALT)
        assert LONG not in redactor.target(b"/?mycode=" + LONG)
        assert redactor.headers(((b"x-acme", b"1"), (b"Cookie", b"a=1"))) == (
            (b"x-acme", b"REDACTED-x-acme"),
            (b"Cookie", b"a=REDACTED-a"),
        )

    def test_what_is_remembered_is_bounded(self) -> None:
        """Also by the secrets that were searched for, which are those of one exchange."""
        alive = []
        for number in range(300):
            secrets = [Secret(b"%d-%d-" % (number, at) + bytes(1000), b"x") for at in range(64)]
            known = KnownSecrets(tuple(secrets))
            REDACTOR.target(b"/", known)
            REDACTOR.headers(((b"Accept", b"*/*"),), known)
            alive.append(ref(known))
            del known, secrets
        assert sum(one() is not None for one in alive) <= 32


# Without "=", at which a bare secret in a cookie header would be a name and a value.
SECRETS = st.text("abcXYZ019-._~+/", min_size=8, max_size=40).map(
    lambda text: b"s3cr3t" + text.encode()
)
NOISE = st.binary(max_size=30)
HEADER_NAMES = st.sampled_from(sorted(CREDENTIAL_HEADERS))
FIELD_NAMES = st.sampled_from([b"Api_Key", b"%73ig", b"jwt", b"password", b"user[pwd]"])
SEEN = b"s3cr3t"


class TestNothingSurvives:
    @given(HEADER_NAMES, SECRETS, st.sampled_from([b"", b"Bearer ", b"Basic ", b"a=", b"a=1; b="]))
    def test_in_headers(self, name: bytes, secret: bytes, before: bytes) -> None:
        """A secret in a credential header leaves no trace."""
        assert SEEN not in redacted(name, before + secret)

    @given(FIELD_NAMES, SECRETS, NOISE, NOISE)
    def test_in_queries(self, name: bytes, secret: bytes, before: bytes, after: bytes) -> None:
        """Whatever surrounds it, a credential field's value is replaced."""
        out = REDACTOR.target(b"/p?" + before + b"&" + name + b"=" + secret + b"&" + after)
        assert SEEN not in out

    @given(st.sampled_from([b"Location", b"Referer", b"Link"]), FIELD_NAMES, SECRETS)
    def test_in_urls(self, header: bytes, name: bytes, secret: bytes) -> None:
        """Nor does a secret in a URL's query."""
        assert SEEN not in redacted(header, b"<https://h/p?" + name + b"=" + secret + b">")

    @given(st.sampled_from([b"Location", b"Link", b"Cookie", b"Set-Cookie", b"X-Token"]), NOISE)
    def test_idempotent_headers(self, name: bytes, value: bytes) -> None:
        """Redacting twice is redacting once, whatever the value."""
        once = redacted(name, value)
        assert redacted(name, once) == once

    @given(st.text("key=&;?#%6b[]tokens1-./@:", max_size=40))
    def test_idempotent_targets(self, text: str) -> None:
        """For targets too."""
        once = REDACTOR.target(b"/p?" + text.encode())
        assert REDACTOR.target(once) == once

    @given(st.binary(min_size=1, max_size=60), st.binary(max_size=60))
    def test_pseudonyms_are_plain(self, name: bytes, secret: bytes) -> None:
        """A pseudonym is legal in a URL, a cookie and a token."""
        out = pseudonym(name, secret, SALT)
        assert not secret or is_pseudonym(out)
