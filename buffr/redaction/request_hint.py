"""What distinguishes a request from others with its method and URL, in a few words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_plus

import msgspec
from attrs import frozen

from buffr.message import Headers, media_type
from buffr.redaction.own_credentials import known_secrets
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import FORM, MULTIPART, scanner_of
from buffr.redaction.spans import is_binary, replaced

__all__ = ["LARGEST_READ", "RequestHint", "hint_of", "operation_in", "operation_of", "read_request"]

LARGEST_READ = 1 << 20
"""Larger bodies are not read."""

_OPERATION_FIELDS = (b"x-amz-target", b"soapaction", b"mcp-method", b"x-ms-operation")
_SOAP_1_2_ACTION = re.compile(rb'action="?([^";]+)')
_OPERATION_MEMBERS = ("operationName", "method")
"""Members of GraphQL over HTTP, and of JSON-RPC."""
_MAY_NAME = (b"operationName", b"jsonrpc", b"Action", b"\\u")
"""One of these is in each body that names an operation, in a form or a member of JSON."""
_TEXT_MEMBERS = ("messages", "input", "contents", "prompt", "query", "question", "text", "q")
_INNER_MEMBERS = ("content", "text", "parts", "input")
_DEEPEST = 8
_BEGINNING, _END = 36, 16
_LONGEST_NAME = 60


@frozen
class RequestHint:
    """``about`` is the beginning and the end of the question, such as the last message's text."""

    operation: str | None = None
    model: str | None = None
    stream: bool = False
    about: str | None = None

    def __str__(self) -> str:
        about = None if self.about is None else f'"{self.about}"'
        parts = (self.operation, self.model, "stream" if self.stream else None, about)
        return " ".join(part for part in parts if part)


def operation_of(headers: Headers) -> str | None:
    """The operation that a header names, for APIs where all operations share a URL."""
    for name, value in headers:
        lower = name.lower()
        if lower in _OPERATION_FIELDS:
            return _name(value.decode("latin-1").strip('"'))
        if lower == b"content-type" and b"soap+xml" in value.lower():
            found = _SOAP_1_2_ACTION.search(value)
            if found is not None:
                return _name(found[1].decode("latin-1"))
    return None


def hint_of(target: bytes, headers: Headers, body: bytes, rules: RedactionRules) -> RequestHint:
    """A short description of a request, without credentials.

    ``body`` has no content codings; a body over ``LARGEST_READ`` is not
    described.
    """
    return read_request(target, headers, body, rules)[0]


def operation_in(target: bytes, headers: Headers, body: bytes, rules: RedactionRules) -> str | None:
    """The operation in the hint of a request; most bodies need not be read for that."""
    operation = operation_of(headers)
    if operation is None and any(mark in body for mark in _MAY_NAME):
        return hint_of(target, headers, body, rules).operation
    return operation


def read_request(
    target: bytes, headers: Headers, body: bytes, rules: RedactionRules
) -> tuple[RequestHint, Mapping[str, object]]:
    """As ``hint_of``, and the members of the body's JSON, without credentials."""
    operation = operation_of(headers)
    if not body or len(body) > LARGEST_READ or is_binary(body):
        return RequestHint(operation), {}
    kind = media_type(headers)
    if kind == MULTIPART:
        return RequestHint(operation), {}
    found = scanner_of(rules).in_body(body, kind, known_secrets(rules, target, headers))
    clean = replaced(body, found, lambda _: STAND_IN)[0] if found else body
    if kind == FORM:
        return _of_form(operation, clean), {}
    document = _decoded(clean)
    if isinstance(document, dict):
        return _of_members(operation, document), document
    return RequestHint(operation, about=_short(_words(document, clean))), {}


def _of_form(operation: str | None, form: bytes) -> RequestHint:
    fields = [field.partition("=") for field in form.decode("utf-8", "replace").split("&")]
    named = {name: unquote_plus(value) for name, _, value in fields}
    rest = [f"{name}={named[name]}" for name in named if name not in ("Action", "Version")]
    return RequestHint(operation or _name(named.get("Action")), about=_short("&".join(rest)))


def _of_members(operation: str | None, document: Mapping[str, object]) -> RequestHint:
    members = _OPERATION_MEMBERS if "jsonrpc" in document else _OPERATION_MEMBERS[:1]
    names = (document.get(name) for name in members)
    operation = operation or next((_name(one) for one in names if isinstance(one, str)), None)
    about = next(_texts(document, _TEXT_MEMBERS, _DEEPEST), None)
    model, stream = document.get("model"), document.get("stream") is True
    if about is None:
        known = ("model", "stream", *members)
        rest = {name: value for name, value in document.items() if name not in known}
        about = msgspec.json.encode(rest).decode() if rest else None
    return RequestHint(
        operation, _name(model if isinstance(model, str) else None), stream, _short(about)
    )


def _texts(value: object, members: tuple[str, ...], deepest: int) -> Iterator[str]:
    """The texts in a value; in a list, those of the last element first."""
    if deepest == 0:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in reversed(value):
            yield from _texts(inner, _INNER_MEMBERS, deepest - 1)
    elif isinstance(value, dict):
        for member in members:
            yield from _texts(value.get(member), _INNER_MEMBERS, deepest - 1)


def _decoded(text: bytes) -> object:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _words(document: object, text: bytes) -> str:
    return next(_texts(document, (), _DEEPEST), None) or text.decode("utf-8", "replace")


def _name(text: str | None) -> str | None:
    return text[:_LONGEST_NAME] or None if text is not None else None


def _short(text: str | None) -> str | None:
    """In one line, long texts by their beginning and end: prompts often begin alike."""
    line = " ".join((text or "").split())
    if len(line) > _BEGINNING + _END + 1:
        line = f"{line[:_BEGINNING]}…{line[-_END:]}"
    return line or None
