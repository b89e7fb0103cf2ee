"""The gateway's own pages below ``/admin/``, in the shapes of reference-api-buddy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from attrs import frozen
from twisted.logger import LogLevel

from buffr.errors import BuffrError, RateLimited
from buffr.listeners.client import ClientSink
from buffr.log import say
from buffr.message import Headers, Request, ResponseHead
from buffr.policy.own_names import OwnNames
from buffr.policy.rate_limits import RateLimiter, RateRules, Window
from buffr.transport.streams import BodyStream

__all__ = ["AdminPages", "Pages", "Verdict"]

_BODY_BYTES = 262144
_CLIENTS = 1000
_LEVELS = 16
_LONGEST_NAME = 255
_READ = frozenset((b"config", b"status", b"domains", b"cache", b"health"))
_REASONS = {
    200: b"OK",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
}

Page = Mapping[str, Any]


@frozen
class Verdict:
    """The result of validating settings."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    merged: Page | None


class Pages(Protocol):
    """The content of the pages. All but ``judge`` take constant time."""

    async def status(self) -> Page: ...
    def configuration(self) -> Page: ...
    async def cache(self) -> Page: ...
    async def cache_of(self, name: str) -> Page | None:
        """``None`` for an unknown route."""

    async def domains(self) -> Page: ...
    async def judge(self, given: Any) -> Verdict:
        """Validate settings, as loaded from JSON."""


@frozen
class _Failed(Exception):
    status: int
    code: str
    error: str
    headers: Headers = ()


_TOO_DEEP = _Failed(400, "INVALID_JSON", "the body is nested too deeply")


class AdminPages:
    """Answers ``/admin/...`` of a gateway, for clients that have access to it.

    A client may send ``per_minute`` requests in any minute, to one of
    ``names``. ``seconds`` is a monotonic clock, ``wall`` the wall clock.
    """

    name = b"admin"

    def __init__(
        self,
        pages: Pages,
        *,
        names: OwnNames,
        per_minute: int,
        log_access: bool,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._pages = pages
        self._names = names
        self._log_access = log_access
        self._seconds = seconds
        self._wall = wall
        self._rules = RateRules((Window(per_minute, 60, "minute"),), max_delay_s=0)
        self._clients: dict[str, RateLimiter] = {}

    async def answer(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer a request whose target begins with ``/admin``. Raises ``BuffrError``."""
        headers: Headers = ()
        try:
            status, page = await self._answer(request, body, sink.client_address)
        except _Failed as failed:
            status, headers = failed.status, failed.headers
            page = {"success": False, "error": failed.error, "error_code": failed.code}
        if self._log_access:
            shown = f"{request.method.decode('ascii')} {request.path.decode('ascii', 'replace')}"
            say(
                LogLevel.info,
                "admin access",
                request=shown,
                client=sink.client_address,
                status=str(status),
            )
        text = json.dumps({"timestamp": self._timestamp(), **page}, indent=2).encode() + b"\n"
        fields = (
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(text)),
            (b"Cache-Control", b"no-store"),
            *headers,
        )
        sink.answer(ResponseHead(status, _REASONS[status], fields), text, (), ())

    async def _answer(
        self, request: Request, body: bytes | BodyStream, client: str
    ) -> tuple[int, Page]:
        self._refuse_foreign(request)
        self._admit(client)
        page, _, name = request.path.removeprefix(b"/admin/").partition(b"/")
        if page == b"validate-config" and not name:
            _only(request, b"POST")
            return await self._validated(body)
        if page not in _READ or (name and page != b"cache"):
            raise _Failed(404, "ENDPOINT_NOT_FOUND", "the gateway has no such admin page")
        _only(request, b"GET")
        try:
            return 200, await self._read(page, name.decode("ascii", "replace"))
        except BuffrError as error:  # the store cannot be read
            code = f"{page.decode('ascii').upper()}_ERROR"
            raise _Failed(500, code, error.message) from None

    async def _read(self, page: bytes, name: str) -> Page:
        match page:
            case b"health":
                return {"status": "healthy"}
            case b"status":
                return await self._pages.status()
            case b"config":
                return self._pages.configuration()
            case b"domains":
                return await self._pages.domains()
        if not name:
            return await self._pages.cache()
        found = await self._pages.cache_of(name)
        if found is None:
            raise _Failed(404, "DOMAIN_NOT_FOUND", "the gateway has no route of this name")
        return {"domain": name, **found}

    async def _validated(self, body: bytes | BodyStream) -> tuple[int, Page]:
        text = await _read_body(body)
        if not text.strip():
            raise _Failed(400, "EMPTY_BODY", "the request has no body; send settings as JSON")
        try:
            given = json.loads(text)
        except ValueError as error:
            raise _Failed(400, "INVALID_JSON", f"the body is not JSON: {error}") from None
        except RecursionError:
            raise _TOO_DEEP from None
        if _is_deep(given):
            raise _TOO_DEEP
        verdict = await self._pages.judge(given)
        page = {
            "valid": not verdict.errors,
            "errors": list(verdict.errors),
            "warnings": list(verdict.warnings),
            "merged_config": verdict.merged,
        }
        return 400 if verdict.errors else 200, page

    def _refuse_foreign(self, request: Request) -> None:
        """Refuse what a page of another site may have sent."""
        found = self._names.foreign(request.headers)
        if found is not None:
            field, value = found
            said = f"{field}: {value[:_LONGEST_NAME]} is not one of the gateway's own names"
            code = f"FOREIGN_{field.upper()}"
            raise _Failed(403, code, f"{said}; gateway.admin.hosts adds names")

    def _admit(self, client: str) -> None:
        limiter = self._clients.pop(client, None) or RateLimiter(self._rules)
        self._clients[client] = limiter
        if len(self._clients) > _CLIENTS:
            del self._clients[next(iter(self._clients))]
        try:
            limiter.reserve(self._seconds())
        except RateLimited as error:
            said = f"too many requests; try again in {error.retry_after_s} s"
            raise _Failed(429, "RATE_LIMIT_EXCEEDED", said, error.headers) from None

    def _timestamp(self) -> str:
        moment = datetime.fromtimestamp(self._wall(), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_deep(value: Any) -> bool:
    """Whether it is nested too deeply for settings, and for recursive functions."""
    level = [value]
    for _ in range(_LEVELS):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _only(request: Request, method: bytes) -> None:
    if request.method != method:
        said = f"this page accepts only {method.decode('ascii')}"
        raise _Failed(405, "METHOD_NOT_ALLOWED", said, ((b"Allow", method),))


async def _read_body(body: bytes | BodyStream) -> bytes:
    if isinstance(body, bytes):
        parts = [body]
    else:
        parts, size_bytes = [], 0
        while size_bytes <= _BODY_BYTES and (piece := await body.read()) is not None:
            parts.append(piece.data)
            size_bytes += len(piece.data)
    text = b"".join(parts)
    if len(text) > _BODY_BYTES:
        raise _Failed(413, "INVALID_JSON", f"the body is larger than {_BODY_BYTES} bytes")
    return text
