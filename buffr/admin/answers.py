"""Requests to the admin listener as its pages see them, and their answers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec
from attrs import field, frozen

from buffr.message import Headers

__all__ = ["Asked", "Events", "Failed", "Reply", "not_found", "query_of", "segments_of"]

_WHOLE = re.compile(r"-?[0-9]{1,18}")

REASONS = {
    200: b"OK",
    204: b"No Content",
    304: b"Not Modified",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    409: b"Conflict",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Content",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


@frozen(kw_only=True)
class Failed(Exception):
    """Why a request is answered with an error. ``code`` is for programs."""

    status: int
    code: str
    message: str
    hint: str | None = None
    problems: Sequence[str] = ()
    headers: Headers = ()

    def data(self) -> dict[str, Any]:
        """As ``Failure`` in the API's document."""
        error: dict[str, Any] = {
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
        }
        if self.problems:
            error["problems"] = list(self.problems)
        return {"error": error}

    def reply(self) -> Reply:
        """The answer that tells it."""
        return Reply.json(self.data(), self.status, self.headers)


def bad_request(message: str, hint: str | None = None) -> Failed:
    return Failed(status=400, code="BAD_REQUEST", message=message, hint=hint)


def not_found(what: str, hint: str | None = None) -> Failed:
    return Failed(status=404, code="NOT_FOUND", message=f"there is no {what}", hint=hint)


def conflict(message: str, hint: str | None = None) -> Failed:
    return Failed(status=409, code="CONFLICT", message=message, hint=hint)


@frozen
class Reply:
    """A whole answer."""

    body: bytes = b""
    status: int = 200
    media_type: bytes = b"application/json"
    headers: Headers = ()

    @classmethod
    def json(cls, data: Any, status: int = 200, headers: Headers = ()) -> Reply:
        """Data as JSON."""
        return cls(msgspec.json.encode(data) + b"\n", status, headers=headers)


@frozen
class Events:
    """An answer that goes on until its client leaves: Server-Sent Events, as bytes."""

    pieces: AsyncGenerator[bytes, None]


Body = TypeVar("Body")


@frozen
class Asked:
    """A request to the API. ``query`` has each parameter once; ``path`` those of the path."""

    method: str
    query: Mapping[str, str]
    headers: Headers = ()
    body: bytes = b""
    path: Mapping[str, str] = field(factory=dict)

    def refuse_others(self, known: Sequence[str]) -> None:
        """Refuse parameters of the query that nobody reads."""
        for name in self.query:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise bad_request(f"unknown parameter {name!r}", f"known here: {listed}")

    def integer(self, name: str, least: int, most: int, default: int | None) -> int | None:
        """A whole number of the query, within bounds."""
        text = self.query.get(name)
        return default if text is None else whole(name, text, least, most)

    def number(self, name: str, least: int, most: int, default: int) -> int:
        """As ``integer``, with a default."""
        found = self.integer(name, least, most, default)
        assert found is not None
        return found

    def text(self, name: str, most: int, default: str = "") -> str:
        """A text of the query, within a bound."""
        text = self.query.get(name, default)
        if len(text) > most:
            raise bad_request(f"{name}: is longer than {most} characters")
        return text

    def read(self, kind: type[Body]) -> Body:
        """The body, as JSON of a kind. Raises ``Failed``."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise bad_request(f"the body is not as it should be: {error}") from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise bad_request(f"the body is not JSON: {error}") from None


def whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises ``Failed``."""
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise bad_request(f"{name}: must be a whole number from {least} to {most}")
    return int(text)


def segments_of(path: bytes) -> tuple[str, ...]:
    """The segments of a path, decoded. Raises ``Failed``."""
    try:
        return tuple(
            unquote(segment, errors="strict") for segment in path.decode("ascii").split("/")[1:]
        )
    except UnicodeDecodeError:
        raise bad_request("the path is not UTF-8, percent-encoded") from None


def query_of(query: bytes | None) -> dict[str, str]:
    """The parameters of a query. Raises ``Failed``."""
    try:
        pairs = parse_qsl(
            (query or b"").decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=50,
        )
    except (UnicodeDecodeError, ValueError):
        raise bad_request("the query is not UTF-8, percent-encoded, or is too long") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise bad_request("a parameter is given twice")
    return found
