"""A recorded request in one line, for logs, reports and listings."""

from __future__ import annotations

from buffr.interaction import RecordedRequest
from buffr.redaction.for_log import credentials_in, target_for_log
from buffr.redaction.rules import RedactionRules

__all__ = ["request_for_log", "url_for_log"]

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
