"""Which names mean credentials."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from buffr.redaction.pseudonym import is_pseudonym, slug_of
from buffr.redaction.randomness import (
    SHORTEST_MADE_UP,
    holds_random,
    looks_made_up,
    says_nothing,
)
from buffr.redaction.vocabulary import Sense, sense_of

__all__ = ["AMBIGUOUS_FIELDS", "CREDENTIAL_FIELDS", "CREDENTIAL_HEADERS", "RedactionRules"]

CREDENTIAL_HEADERS = frozenset(
    b"""
    authorization proxy-authorization x-authorization x-original-authorization
    x-forwarded-authorization x-goog-iam-authorization-token x-registry-auth
    cookie cookie2 set-cookie set-cookie2
    api-key apikey x-api-key x-apikey x-key x-auth-key x-api-secret x-functions-key
    x-goog-api-key ocp-apim-subscription-key x-subscription-token xi-api-key
    x-rapidapi-key x-mashape-key x-master-key x-insert-key x-query-key
    x-parse-master-key x-parse-rest-api-key x-algolia-api-key x-cmc_pro_api_key
    dd-api-key dd-application-key x-honeycomb-team
    x-token x-auth x-auth-token x-access-token x-refresh-token x-id-token x-session-token
    x-subject-token x-service-token x-user-token x-security-token x-amz-security-token
    x-amzn-oidc-accesstoken x-amzn-oidc-data x-ms-token-aad-access-token
    x-ms-token-aad-id-token x-ms-token-aad-refresh-token x-forwarded-access-token
    x-csrf-token x-xsrf-token x-csrftoken csrf-token
    private-token job-token deploy-token x-gitlab-token x-github-token circle-token
    x-vault-token x-consul-token x-nomad-token x-figma-token x-shopify-access-token
    x-postmark-server-token x-postmark-account-token x-plex-token x-emby-token
    x-secret x-client-secret x-password cf-access-client-secret cf-access-jwt-assertion
    x-buffr-key x-api-buddy-key
    """.split()
)
"""Header fields whose values are credentials, in lower case."""

_HEADER_ENDINGS = (
    b"-api-key",
    b"-apikey",
    b"-api-token",
    b"-auth-token",
    b"-access-token",
    b"-secret-key",
    b"-access-key",
    b"-client-secret",
    b"-password",
)

CREDENTIAL_FIELDS = frozenset(
    b"""
    api_key app_key access_key secret_key user_key private_key subscription_key auth_key
    access_token refresh_token id_token auth_token api_token oauth_token private_token
    security_token bearer_token user_token csrf_token jwt bearer
    authorization client_assertion saml_response
    sig signature oauth_signature hmac
    secret client_secret password passwd passphrase pwd
    x_amz_signature x_amz_credential x_amz_security_token aws_access_key_id
    x_goog_signature x_goog_credential google_access_id x_goog_api_key
    shared_access_signature hapikey buffr_key
    """.replace(b"_", b"").split()
)
"""Query and form fields whose values are credentials, in normal form (see ``RedactionRules``)."""

AMBIGUOUS_FIELDS = frozenset((b"key", b"token", b"auth", b"credential", b"credentials"))
"""Fields whose values are credentials or data: ``key=en``, ``auth=basic``. The value decides."""

CREDENTIAL_MEMBERS = frozenset(
    b"""
    access_token refresh_token id_token auth_token api_token oauth_token private_token
    security_token bearer_token user_token csrf_token xsrf_token client_token
    api_key app_key access_key secret_key secret_access_key private_key subscription_key auth_key
    signing_key encryption_key shared_key master_key account_key
    secret client_secret password passwd passphrase pwd
    client_assertion subject_token actor_token saml_response oauth_signature
    x_amz_signature x_amz_credential x_amz_security_token
    x_goog_signature x_goog_credential shared_access_signature
    """.replace(b"_", b"").split()
)
"""Members of JSON and similar formats whose values are credentials, in normal form.

Fewer than for queries: ``key`` and ``token`` have too many other meanings.
"""

_POSSIBLE_MEMBERS = frozenset(
    (b"token", b"jwt", b"bearer", b"auth", b"credential", b"credentials", b"sessionkey")
)

_SESSION_KEYS = (b"sessionkey", b"session-key")

_SESSION_TOKENS = (b"sessiontoken", b"session-token")
"""Always hidden, but they distinguish conversations."""

_FIELD_ENDINGS = (
    b"password",
    b"passphrase",
    b"secret",
    b"apikey",
    b"accesstoken",
    b"refreshtoken",
    b"authtoken",
)

_MEMBER_ENDINGS = (
    *_FIELD_ENDINGS,
    b"sessiontoken",
    b"secretkey",
    b"privatekey",
    b"secretaccesskey",
)

# As the last of several nested names, as in filter[key]=name, these mean something else.
_COMMON_WORDS = frozenset((b"key", b"token", b"sig", b"signature", b"auth", b"bearer"))

# Bounds the memory for remembered names.
_LONGEST_KNOWN = 64
_MOST_KNOWN = 1024

_SEPARATORS = re.compile(rb"[-_.+\s]+")


def _plain(name: bytes) -> bytes:
    return _SEPARATORS.sub(b"", name.lower())


def _headers(names: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(name.strip().lower() for name in names)


def _fields(names: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(_plain(name) for name in names)


class _Names(Enum):
    """What the name of a field says about its value."""

    NOTHING = "nothing"
    POSSIBLE = "it may be a credential"
    CREDENTIAL = "it is one"


@lru_cache(maxsize=1024)
def _named(sure: frozenset[bytes], possible: frozenset[bytes], name: bytes) -> _Names:
    plain = _plain(unquote_to_bytes(name) if b"%" in name else name)
    if b"[" in plain and plain not in sure:
        parts = [part for part in re.split(rb"[\[\]]+", plain) if part and not part.isdigit()]
        if not parts or (len(parts) > 1 and parts[-1] in _COMMON_WORDS):
            return _Names.NOTHING
        plain = parts[-1]
    if plain in sure or plain in _SESSION_TOKENS or plain.endswith(_FIELD_ENDINGS):
        return _Names.CREDENTIAL
    return _Names.POSSIBLE if plain in possible else _Names.NOTHING


class _JudgedHeaders(dict[bytes, bool]):
    """Remembers the decision for each requested name; a few names recur all the time."""

    __slots__ = ("_credentials",)

    def __init__(self, credentials: frozenset[bytes]) -> None:
        super().__init__()
        self._credentials = credentials

    def __missing__(self, name: bytes) -> bool:
        judged = self.judged(name)
        if len(name) <= _LONGEST_KNOWN:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[name] = judged
        return judged

    def judged(self, name: bytes) -> bool:
        lower = name.lower()
        return lower in self._credentials or lower.endswith(_HEADER_ENDINGS)


class _TellingHeaders(_JudgedHeaders):
    """The same for names whose words may indicate a secret."""

    __slots__ = ()

    def judged(self, name: bytes) -> bool:
        return super().judged(name) or sense_of(name) is not Sense.NOTHING


@lru_cache(maxsize=1024)
def _is_member(names: frozenset[bytes], name: bytes) -> bool:
    plain = _plain(name)
    return plain in CREDENTIAL_MEMBERS or plain.endswith(_MEMBER_ENDINGS) or plain in names


@frozen(cache_hash=True)
class RedactionRules:
    """What is a credential: by the names of header fields, of query fields and of JSON members.

    Names of fields are compared percent-decoded, without case, and without
    ``-``, ``_``, ``.`` and space, so that ``API_KEY``, ``apiKey`` and
    ``%61pi-key`` are the same. Names that end like a credential
    (``X-Acme-Api-Key``, ``db_password``) count too.

    ``ambiguous`` fields contain credentials or data, depending on their
    values. ``json`` adds members, by bare names or by JSONPaths (RFC 9535),
    which begin with ``$``. ``patterns`` (RE2) match more secrets anywhere; if
    a pattern has a group, the first group is the secret. ``unsafe``: a
    recording that cannot be searched is refused, or written with a warning.
    ``compared`` header fields distinguish requests, by a matching rule.
    """

    headers: frozenset[bytes] = field(default=CREDENTIAL_HEADERS, converter=_headers)
    fields: frozenset[bytes] = field(default=CREDENTIAL_FIELDS, converter=_fields)
    ambiguous: frozenset[bytes] = AMBIGUOUS_FIELDS
    enabled: bool = True
    json: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    unsafe: Literal["refuse", "warn"] = "refuse"
    compared: frozenset[bytes] = field(default=frozenset(), converter=_headers)
    json_names: frozenset[str] = field(init=False)
    json_paths: tuple[str, ...] = field(init=False)
    _own_members: frozenset[bytes] = field(init=False)
    counted: frozenset[bytes] = field(init=False)
    """The names in stand-ins whose values count in match keys, because they may mean data."""
    judged_headers: Mapping[bytes, bool] = field(init=False, eq=False, repr=False)
    """``is_credential_header`` for any name, without a call."""
    telling_headers: Mapping[bytes, bool] = field(init=False, eq=False, repr=False)
    """Whether a header with this name may have a value to hide, without a call."""

    @judged_headers.default
    def _none_judged_yet(self) -> Mapping[bytes, bool]:
        return _JudgedHeaders(self.headers)

    @telling_headers.default
    def _no_header_judged_yet(self) -> Mapping[bytes, bool]:
        return _TellingHeaders(self.headers)

    @json_names.default
    def _bare_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.json if not name.startswith("$"))

    @json_paths.default
    def _paths(self) -> tuple[str, ...]:
        return tuple(path for path in self.json if path.startswith("$"))

    @_own_members.default
    def _in_normal_form(self) -> frozenset[bytes]:
        return _fields(name.encode() for name in self.json_names)

    @counted.default
    def _names_of_data(self) -> frozenset[bytes]:
        sure = self.fields | self._own_members
        return frozenset(
            slug
            for slug in (*self.ambiguous, *_SESSION_KEYS, *_SESSION_TOKENS)
            if slug.replace(b"-", b"") not in sure
        )

    def may_mean_data(self, name: bytes) -> bool:
        """Whether opaque values under this name, as sent, may be data."""
        return slug_of(name) in self.counted

    @classmethod
    def with_extra(
        cls,
        *,
        headers: Iterable[str] = (),
        fields: Iterable[str] = (),
        json: Iterable[str] = (),
        patterns: Iterable[str] = (),
        unsafe: Literal["refuse", "warn"] = "refuse",
        enabled: bool = True,
        compared: Iterable[str] = (),
    ) -> RedactionRules:
        """The default rules and these names: a field that is named here is always a credential."""
        return cls(
            headers=CREDENTIAL_HEADERS.union(name.encode() for name in headers),
            fields=CREDENTIAL_FIELDS.union(_fields(name.encode() for name in fields)),
            json=tuple(json),
            patterns=tuple(patterns),
            unsafe=unsafe,
            enabled=enabled,
            compared=frozenset([name.encode() for name in compared]),
        )

    def _value_tells(self, name: bytes) -> bool:
        return self.may_mean_data(name) and slug_of(name) not in _SESSION_TOKENS

    def is_credential_header(self, name: bytes) -> bool:
        """Whether a header field with this name, in any case, contains a credential."""
        return self.judged_headers[name]

    def may_tell(self, name: bytes) -> bool:
        """Whether a header field with this name may have a value to hide."""
        return self.telling_headers[name]

    def hides(self, name: bytes, value: bytes) -> bool:
        """Whether a value is hidden for the words of its name, although no list has the name.

        Such values count in match keys. ``value`` is decoded.
        """
        match sense_of(name):
            case Sense.CREDENTIAL if not self._value_tells(name):
                return not says_nothing(value)
            case Sense.CREDENTIAL | Sense.OPAQUE:
                return looks_made_up(value)
        return False

    def shortest_hidden(self, name: bytes) -> int:
        """The size that a value has at least if ``hides`` is true for it under this name."""
        match sense_of(name):
            case Sense.CREDENTIAL if not self._value_tells(name):
                return 1
            case Sense.CREDENTIAL | Sense.OPAQUE:
                return SHORTEST_MADE_UP
        return sys.maxsize

    def is_credential_field(self, name: bytes) -> bool:
        """Whether a query field with this name, as written in the query, may contain a credential.

        In a nested name the last part decides: ``user[password]``, ``key[]``.
        """
        return self._names(name) is not _Names.NOTHING

    def holds_credential(self, name: bytes, value: bytes) -> bool:
        """Whether a query field contains a credential; both arguments as written, or decoded.

        A field with an ambiguous name does if any part of its value looks like
        a token, or is the stand-in for one.
        """
        names = self._names(name)
        if names is not _Names.POSSIBLE:
            return names is _Names.CREDENTIAL
        return is_pseudonym(value) or holds_random(
            unquote_to_bytes(value) if b"%" in value else value
        )

    def _names(self, name: bytes) -> _Names:
        known = _named if len(name) <= _LONGEST_KNOWN else _named.__wrapped__
        return known(self.fields, self.ambiguous, name)

    def is_credential_member(self, name: bytes) -> bool:
        """Whether a member of JSON, or an XML element, with this name contains a credential.

        Names of credential headers count too: services often echo what they
        received.
        """
        return _is_member(self._own_members, name) or self.is_credential_header(name)

    def may_be_credential_member(self, name: bytes) -> bool:
        """Whether it contains a credential if its value looks like one."""
        return _plain(name) in _POSSIBLE_MEMBERS

    def endings_of_members(self) -> frozenset[bytes]:
        """How names end, in normal form, of members that may be credentials, but for ``json``."""
        headers = (*self.headers, *_HEADER_ENDINGS)
        names = CREDENTIAL_MEMBERS.union(_POSSIBLE_MEMBERS, _MEMBER_ENDINGS)
        return names.union(map(_plain, headers))

    def ends_like_credential(self, name: bytes) -> bool:
        """Whether only the end of a member's name says so.

        A value with several words is then data.
        """
        plain = _plain(name)
        return plain not in CREDENTIAL_MEMBERS and plain.endswith(_MEMBER_ENDINGS)
