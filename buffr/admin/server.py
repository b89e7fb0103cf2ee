"""The admin listener's handler: who is let in, which page answers, and how it goes out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hmac import compare_digest
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.logger import LogLevel

from buffr.admin.answers import REASONS, Asked, Events, Failed, Reply, query_of, segments_of
from buffr.admin.page import StaticFiles
from buffr.errors import BuffrError
from buffr.listeners.client import ClientSink
from buffr.log import say
from buffr.message import Headers, Piece, Request, ResponseHead, first_value, media_type
from buffr.policy.own_names import OwnNames
from buffr.transport.streams import BodyStream

__all__ = ["AdminServer", "Endpoint", "Pages"]

_BODY_BYTES = 4 << 20
_LONGEST_NAME = 255
_OPEN = frozenset((("api", "health"), ("api", "ready")))
"""What tells nothing, and is asked by probes that have no token."""
_PARAMETER = re.compile(r"\{(\w+)\}")

_SAFE: Headers = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"X-Frame-Options", b"DENY"),
)
_NOTHING = b"default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of what is not a page."""
_EVENT_STREAM: Headers = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"Transfer-Encoding", b"chunked"),
    (b"X-Accel-Buffering", b"no"),
    (b"Content-Security-Policy", _NOTHING),
    *_SAFE,
)

Page = Callable[[Asked], Awaitable[Reply | Events]]


@frozen
class Endpoint:
    """One page: its path as in the API's document, its parameters in the query, and who answers.

    ``changes``: it needs the token.
    """

    method: str
    path: str
    answer: Page
    query: Sequence[str] = ()
    changes: bool = False


@define(eq=False)
class Pages:
    """Finds the endpoint of a path."""

    endpoints: Sequence[Endpoint]
    _fixed: dict[tuple[str, ...], dict[str, Endpoint]] = field(init=False, factory=dict)
    _patterns: list[tuple[tuple[str, ...], dict[str, Endpoint]]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        by_path: dict[tuple[str, ...], dict[str, Endpoint]] = {}
        for one in self.endpoints:
            segments = tuple(one.path.split("/")[1:])
            by_path.setdefault(segments, {})[one.method] = one
        for segments, methods in by_path.items():
            if any(_PARAMETER.fullmatch(segment) for segment in segments):
                self._patterns.append((segments, methods))
            else:
                self._fixed[segments] = methods

    def find(self, path: tuple[str, ...]) -> tuple[Mapping[str, Endpoint], dict[str, str]] | None:
        """The endpoints of a path by method, and the path's parameters."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        for segments, methods in self._patterns:
            if len(segments) != len(path):
                continue
            parameters = {}
            for segment, given in zip(segments, path, strict=True):
                named = _PARAMETER.fullmatch(segment)
                if named is not None and given:
                    parameters[named[1]] = given
                elif segment != given:
                    break
            else:
                return methods, parameters
        return None


@define(eq=False)
class AdminServer:
    """Answers the requests to the admin listener.

    ``names`` are its own names. ``reads_need_token``: it can be reached from
    other machines.
    """

    pages: Pages
    files: StaticFiles
    token: bytes
    names: OwnNames
    reads_need_token: bool

    async def handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer one request. Raises ``BuffrError`` if its body breaks off."""
        try:
            answer = await self._answer(request, body)
        except Failed as failed:
            answer = failed.reply()
        except BuffrError as error:
            answer = _failure(error).reply()
        except Exception as error:  # noqa: BLE001  # a defect in a page; the client is told
            say(LogLevel.error, "defect", err=f"admin: {type(error).__name__}: {error}")
            what = "internal error; the log says more"
            answer = Failed(status=500, code="DEFECT", message=what).reply()
        if isinstance(answer, Events):
            await _stream(answer, sink)
        else:
            _send(answer, sink)

    async def _answer(self, request: Request, body: bytes | BodyStream) -> Reply | Events:
        self._refuse_foreign(request)
        path = segments_of(request.path)
        found = self.pages.find(path)
        if found is None:
            return self._static(request, path)
        methods, parameters = found
        method = request.method.decode("ascii", "replace")
        endpoint = methods.get(method)
        if endpoint is None:
            raise _not_allowed(methods)
        if endpoint.changes or (self.reads_need_token and path not in _OPEN):
            self._need_token(request)
        asked = Asked(method, query_of(request.query), request.headers, path=parameters)
        asked.refuse_others(endpoint.query)
        data = await _read(body)
        if data or endpoint.method in ("POST", "PUT"):
            if data and media_type(request.headers) != b"application/json":
                raise Failed(
                    status=415, code="NOT_JSON", message="the body must be application/json"
                )
            asked = evolve(asked, body=data)
        return await endpoint.answer(asked)

    def _static(self, request: Request, path: tuple[str, ...]) -> Reply:
        known = first_value(request.headers, b"if-none-match")
        codings = first_value(request.headers, b"accept-encoding")
        reply = self.files.find("/".join(path), known, codings)
        if reply is None:
            raise Failed(
                status=404,
                code="NOT_FOUND",
                message="there is no such page",
                hint="/openapi.json describes those of the API",
            )
        if request.method != b"GET":
            raise _not_allowed(("GET",))
        return reply

    def _refuse_foreign(self, request: Request) -> None:
        """Refuse what a page of another site may have sent, or made a browser send."""
        found = self.names.foreign(request.headers)
        if found is not None:
            name, value = found
            raise Failed(
                status=403,
                code=f"FOREIGN_{name.upper()}",
                message=f"{name}: {value[:_LONGEST_NAME]} is not one of this listener's names",
                hint="admin.hosts adds names",
            )
        origin = first_value(request.headers, b"origin")
        host = first_value(request.headers, b"host")
        if origin is not None and origin.partition(b"://")[2].lower() != (host or b"").lower():
            raise Failed(
                status=403,
                code="FOREIGN_ORIGIN",
                message="Origin is another site than Host",
            )

    def _need_token(self, request: Request) -> None:
        """Refuse a request without the token.

        No form and no link of another site can send either field, so it is
        the proof against cross-site requests, too.
        """
        given = first_value(request.headers, b"x-buffr-token")
        if given is None:
            scheme, _, credentials = (
                first_value(request.headers, b"authorization") or b""
            ).partition(b" ")
            given = credentials.strip() if scheme.lower() == b"bearer" else None
        if given is None or not compare_digest(given, self.token):
            wrong = "no token" if given is None else "a wrong token"
            raise Failed(
                status=401,
                code="TOKEN_NEEDED",
                message=f"the request has {wrong}",
                hint="send X-Buffr-Token; the log and buffr-admin.json have the token",
                headers=((b"WWW-Authenticate", b'Bearer realm="buffr admin"'),),
            )


def _failure(error: BuffrError) -> Failed:
    """An error of a store or an upstream, as this API tells it."""
    status = error.status if error.status in REASONS else 500
    code, hint = error.code.upper(), error.hint or None
    return Failed(status=status, code=code, message=error.message, hint=hint)


def _not_allowed(methods: Sequence[str] | Mapping[str, Any]) -> Failed:
    allowed = ", ".join(methods)
    return Failed(
        status=405,
        code="METHOD_NOT_ALLOWED",
        message=f"this page accepts only {allowed}",
        headers=((b"Allow", allowed.encode("ascii")),),
    )


async def _read(body: bytes | BodyStream) -> bytes:
    if isinstance(body, bytes):
        data = body
    else:
        parts, size_bytes = [], 0
        while size_bytes <= _BODY_BYTES and (piece := await body.read()) is not None:
            parts.append(piece.data)
            size_bytes += len(piece.data)
        data = b"".join(parts)
    if len(data) > _BODY_BYTES:
        message = f"the body is larger than {_BODY_BYTES} bytes"
        raise Failed(status=413, code="TOO_LARGE", message=message)
    return data


def _send(reply: Reply, sink: ClientSink) -> None:
    own = {name.lower() for name, _ in reply.headers}
    fields: Headers = tuple(
        one
        for one in (
            (b"Content-Type", reply.media_type),
            (b"Content-Length", b"%d" % len(reply.body)),
            (b"Content-Security-Policy", _NOTHING),
            *_SAFE,
        )
        if one[0].lower() not in own
        and not (reply.status in (204, 304) and one[0].startswith(b"Content-Length"))
    )
    head = ResponseHead(reply.status, REASONS[reply.status], fields + tuple(reply.headers))
    sink.answer(head, reply.body, (), ())


async def _stream(events: Events, sink: ClientSink) -> None:
    sink.begin(ResponseHead(200, REASONS[200], _EVENT_STREAM))
    sink.flush()
    try:
        async for data in events.pieces:
            sink.write(Piece(data, len(data)))
            await sink.drain()
    finally:
        await events.pieces.aclose()
    sink.end(())
