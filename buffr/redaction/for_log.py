"""Requests in one line, for logs, miss answers, reports and listings."""

from __future__ import annotations

import re

from attrs import frozen

from buffr.interaction import RecordedRequest
from buffr.message import Headers
from buffr.redaction.fields import in_target
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets, Secret, known_secrets
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.redaction.spans import replaced

__all__ = ["credentials_in", "request_for_log", "target_for_log", "url_for_log"]

_USERINFO_AND_AT = re.compile(rb"(?:(?<=://)|^)[^/?#\s]*@")


@frozen
class _ByName:
    """Treats every field that may contain a credential as one."""

    rules: RedactionRules

    def is_credential_field(self, name: bytes) -> bool:
        return self.rules.is_credential_field(name)

    def holds_credential(self, name: bytes, _value: bytes) -> bool:
        return self.rules.is_credential_field(name)


def target_for_log(
    target: bytes, rules: RedactionRules, credentials: tuple[Secret, ...] = ()
) -> bytes:
    """A target without credential values, userinfo, and the request's ``credentials``.

    Applies even if ``rules.enabled`` is false, which is about recordings only.
    If a name may be that of a credential, its value is hidden, whatever it is.
    """
    named = in_target(_USERINFO_AND_AT.sub(b"", target), _ByName(rules), _for_log)
    known = KnownSecrets(credentials) if credentials else NOTHING_KNOWN
    found = scanner_of(rules).in_text(named, known)
    return replaced(named, found, lambda _: STAND_IN)[0] if found else named


def credentials_in(target: bytes, headers: Headers, rules: RedactionRules) -> tuple[Secret, ...]:
    """The credentials of a request that also appear in its target; usually none."""
    known = known_secrets(rules, target, headers)
    return tuple([secret for secret in known.secrets if secret.stands_in(target)])


def _for_log(_name: bytes, value: bytes) -> bytes:
    return STAND_IN if value else b""


_DEFAULT_PORTS = {"http": 80, "https": 443}


def request_for_log(request: RecordedRequest, rules: RedactionRules) -> str:
    """Method and URL, as far as the recording has them."""
    return f"{request.method.decode('utf-8')} {url_for_log(request, rules)}"


def url_for_log(request: RecordedRequest, rules: RedactionRules) -> str:
    """The URL, as far as the recording has it; the content of a cassette is not trusted."""
    credentials = credentials_in(request.target, request.headers, rules)
    target = target_for_log(request.target, rules, credentials).decode("latin-1")
    return f"{_where(request)}{target}"


def _where(request: RecordedRequest) -> str:
    if request.host is None:
        return ""
    scheme = request.scheme or "https"
    host = f"[{request.host}]" if ":" in request.host else request.host
    own = request.port in (None, _DEFAULT_PORTS.get(scheme))
    return f"{scheme}://{host}" if own else f"{scheme}://{host}:{request.port}"
