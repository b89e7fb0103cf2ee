"""An upstream: a request goes to its origin, and the answer comes back unchanged."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import monotonic
from typing import Any

from twisted.logger import LogLevel

from buffr.errors import BuffrError, UpstreamFailed, UpstreamTimeout
from buffr.formats.grpc import is_grpc_type
from buffr.log import say
from buffr.message import (
    CHUNKED,
    Headers,
    Request,
    ResponseHead,
    end_to_end,
    first_value,
    media_type,
)
from buffr.origin import Origin
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyReader
from buffr.upstream.bound import Client, continues_handshake
from buffr.upstream.connection import Connection, Outgoing, Response, Switched
from buffr.upstream.hops import Hops, Mark
from buffr.upstream.http2 import Http2Request
from buffr.upstream.http2_pool import Http2Pool
from buffr.upstream.known_call import KnownCall
from buffr.upstream.pool import Pool
from buffr.wire.http1_body import request_head
from buffr.wire.http2.answers import request_fields
from buffr.wire.references import has_references, path_at, with_references
from buffr.wire.websocket_deflate import Deflate, accepted, without_others
from buffr.wire.websocket_handshake import check_answer, for_next_hop

__all__ = ["Upstream"]

_SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
_FRAMING = frozenset((b"transfer-encoding", b"trailer"))
_TE = frozenset((b"te",))
_HEADS = 32
_HEAD_BYTES = 128 << 10
_ANY_VALUE = b"\0*\0"
"""In the place of a value, as no head may have it."""
_TAKES_TRAILERS = ((b"TE", b"trailers"), (b"Connection", b"TE"))


class Upstream:
    """An origin, and how it is reached.

    ``keep_host`` sends the client's ``Host`` field instead of the origin's.
    ``proxy_headers`` is given if plain requests go to a parent proxy: they are
    in absolute-form then, with these fields. ``tunnels`` is the pool for
    WebSockets then (RFC 6455 4.1). ``on_answer`` gets each call's status, or
    ``None`` if no answer came in time, and the seconds until its head.
    ``hops`` recognises a request that comes back; ``None`` disables that.
    ``http2`` makes a pool if the upstream may be spoken to in HTTP/2: for all
    requests if that is ``wanted``, otherwise for those that need it or came in
    it.
    """

    def __init__(
        self,
        origin: Origin,
        pool: Pool,
        *,
        keep_host: bool = False,
        proxy_headers: Headers | None = None,
        tunnels: Pool | None = None,
        hops: Hops | None = None,
        http2: Callable[[], Http2Pool] | None = None,
        http2_wanted: bool = False,
    ) -> None:
        self.origin = origin
        self.on_answer: Callable[[int | None, float], None] | None = None
        self._proxy_headers = proxy_headers
        self._base_path = origin.base_path_bytes
        self._pool = pool
        self._tunnels = tunnels
        self._keep_host = keep_host
        self._hops = hops
        self._make_http2 = http2
        self._http2: Http2Pool | None = None
        self._http2_wanted = http2_wanted
        self._repaired: frozenset[str] = frozenset()
        self._heads: Memo[Request, bytes] = Memo(entries=_HEADS, size_bytes=_HEAD_BYTES)

    def send(
        self,
        request: Request,
        body: bytes | BodyReader,
        inform: Callable[[ResponseHead], None],
        *,
        expect_met: bool = False,
        client: Client | None = None,
        begun: Connection | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Send a client's request. Returns the answer's head, and its body as it comes.

        Heads have no hop-by-hop fields except those about framing.
        ``inform`` gets interim answers. ``expect_met`` says that the client
        already got 100 (Continue), so that ``Expect`` is dropped. ``client`` is
        the connection that the request came on, for credentials that
        authenticate a connection. A safe request is sent again once if its
        pooled connection turns out to be dead. ``begun`` is the connection on
        which a known call was sent; its answer is awaited.
        Raises ``UpstreamFailed``, ``BadUpstreamAnswer`` or ``UpstreamTimeout``.
        """
        answer = self._sent(request, body, inform, client, begun, expect_met=expect_met)
        return answer if self.on_answer is None else _timed(answer, self.on_answer)

    async def _sent(
        self,
        request: Request,
        body: bytes | BodyReader,
        inform: Callable[[ResponseHead], None],
        client: Client | None,
        begun: Connection | None,
        *,
        expect_met: bool,
    ) -> Response:
        if (
            self._make_http2 is not None
            and (self._http2_wanted or request.major > 1)
            and begun is None
            and self._is_for_http2(request, client)
        ):
            if self._http2 is None:
                self._http2 = self._make_http2()
            response = await self._over_http2(
                self._http2, request, body, inform, expect_met=expect_met
            )
            if response is not None:
                response.head = response.head.for_next_hop
                return response
        head = self._heads.get(request)
        if head is None or expect_met:
            head = self._head(request, expect_met=expect_met)
        outgoing = Outgoing(
            method=request.method,
            head=head,
            body=body,
            chunked=request.body_length == CHUNKED,
            inform=inform,
            marked=partial(self._marked, request, head),
            passed=bool(request.hops),
        )
        try:
            answer = await _asked(self._pool, request, outgoing, client, begun)
        except (UpstreamFailed, UpstreamTimeout) as error:
            raise self._named(error) from error.__cause__
        assert isinstance(answer, Response)
        if answer.faults:
            self._note(answer.faults)
        answer.head = answer.head.for_next_hop
        return answer

    def known(self, request: Request, body: bytes, volatile: Sequence[bytes]) -> KnownCall | None:
        """A request that was sent as a call that can be sent again, if it goes the usual way.

        Others will differ in the values of its ``volatile`` fields.
        """
        if (
            request.hops
            or request.upgrade
            or request.expects_continue
            or request.body_length == CHUNKED
            or request.authenticates_connection
            or request.major > 1
            or (self._make_http2 is not None and self._http2_wanted)
        ):
            return None
        if volatile:
            if volatile != request.names_among(volatile):
                return None
            request = request.with_values(volatile, [_ANY_VALUE] * len(volatile))
        head = self._made_head(request, expect_met=False)
        if head.count(_ANY_VALUE) != len(volatile):
            return None

        def whole(head: bytes) -> bytes:
            if not volatile:
                return head + body
            return head.replace(b"%", b"%%").replace(_ANY_VALUE, b"%b") + body.replace(b"%", b"%%")

        return KnownCall(
            self,
            self._pool,
            request.method,
            whole(head),
            lambda: whole(self._marked(request, head, Mark.ADD)),
        )

    def _is_for_http2(self, request: Request, client: Client | None) -> bool:
        """Whether an upstream is asked for HTTP/2 that is always asked, or by a client in HTTP/2.

        Not with credentials for a connection, which HTTP/2 does not know.
        """
        if not (self._http2_wanted or self.origin.tls or is_grpc_type(media_type(request.headers))):
            return False
        if self._http2 is not None and self._http2.declines:
            return False
        return not request.authenticates_connection and (
            client is None or client not in self._pool.bonds
        )

    async def _over_http2(
        self,
        pool: Http2Pool,
        request: Request,
        body: bytes | BodyReader,
        inform: Callable[[ResponseHead], None],
        *,
        expect_met: bool,
    ) -> Response | None:
        """The answer in HTTP/2; ``None`` if the upstream chose HTTP/1.1."""
        headers = self._host(self._references(end_to_end(request.headers, keep=_TE)))
        if expect_met:
            headers = tuple(field for field in headers if field[0].lower() != b"expect")
        authority = first_value(headers, b"host") or self.origin.authority

        def made(mark: Mark) -> Http2Request:
            field = self._hop(request, mark)
            fields = request_fields(
                request.method,
                self.origin.scheme.encode("ascii"),
                authority,
                self._target(request.target),
                headers if field is None else (*headers, field),
            )
            return Http2Request(request.method, fields, body, inform)

        try:
            return await pool.send(made, body, hops=request.hops)
        except (UpstreamFailed, UpstreamTimeout) as error:
            raise self._named(error) from error.__cause__

    def _named(self, error: BuffrError) -> BuffrError:
        """The error, with the upstream's name in its message."""
        name = self.origin.authority.decode("ascii")
        if name not in error.message:
            error.message = f"{error.message} ({name})"
        return error

    def _note(self, faults: tuple[str, ...]) -> None:
        """Log which faults of an answer were repaired, each once."""
        for fault in faults:
            if fault not in self._repaired:
                self._repaired |= {fault}
                say(
                    LogLevel.warn,
                    "upstream's answer repaired",
                    host=self.origin.authority.decode("ascii"),
                    err=fault,
                    hint="upstream: {lenient: false} refuses it",
                )

    async def upgrade(
        self,
        request: Request,
        key: bytes,
        inform: Callable[[ResponseHead], None],
        client: Client | None = None,
    ) -> Response | tuple[Switched, Deflate | None]:
        """Ask for a WebSocket session, on a new connection or the client's bound one.

        A refusal is an answer like any other. A switch comes with the
        compression that was negotiated, if any. ``key`` is the handshake's,
        ``client`` is as in ``send``. Raises like ``send``, and
        ``BadUpstreamAnswer`` for an invalid switch.
        """
        headers = without_others(self._host(for_next_hop(request.headers)))
        target = self._base_path + request.target
        head = request_head(request.method, target, headers)
        outgoing = Outgoing(
            method=request.method,
            head=head,
            body=b"",
            chunked=False,
            inform=inform,
            upgrade=True,
            marked=partial(self._marked, request, head),
            passed=bool(request.hops),
        )
        try:
            answer = await _asked(self._tunnels or self._pool, request, outgoing, client)
            self._note(answer.faults)
            if not isinstance(answer, Response):
                return _switched(answer, key, headers)
        except (UpstreamFailed, UpstreamTimeout) as error:
            raise self._named(error) from error.__cause__
        answer.head = answer.head.for_next_hop
        return answer

    def holds(self, client: Client) -> bool:
        """Whether a connection to this upstream is bound to the client's."""
        tunnels = self._tunnels
        return client in self._pool.bonds or (tunnels is not None and client in tunnels.bonds)

    def _head(self, request: Request, *, expect_met: bool) -> bytes:
        """The request's head on the wire, remembered: requests with equal heads are one object."""
        if expect_met:
            return self._made_head(request, expect_met=True)
        head = self._made_head(request, expect_met=False)
        self._heads.put(request, head, request.head_bytes + len(head))
        return head

    def _made_head(self, request: Request, *, expect_met: bool) -> bytes:
        target = self._target(request.target)
        if self._proxy_headers is not None:
            target = self._absolute(target)
        headers = self._host(self._references(end_to_end(request.headers, keep=_FRAMING)))
        if expect_met:
            headers = tuple(field for field in headers if field[0].lower() != b"expect")
        if request.takes_trailers:
            headers += _TAKES_TRAILERS
        return request_head(request.method, target, headers + (self._proxy_headers or ()))

    def _target(self, target: bytes) -> bytes:
        return self._base_path + target if self._base_path and target != b"*" else target

    def refuse_loop(self, request: Request) -> None:
        """Raise ``LoopDetected`` for a request that was already sent to this upstream."""
        if self._hops is not None:
            self._hops.check(request.hops, request.method, self._url(request))

    def _url(self, request: Request) -> bytes:
        origin = self.origin
        return b"%b://%b%b" % (origin.scheme.encode("ascii"), origin.authority, request.target)

    def _marked(self, request: Request, head: bytes, mark: Mark) -> bytes:
        """The head, with the field that shows loops if it needs one."""
        field = self._hop(request, mark)
        if field is None:
            return head
        name, value = field
        line = b"%b: %b\r\n" % (name, value)
        if self._proxy_headers is not None:
            # For the parent only: the origin behind it may be anybody's.
            line += b"Connection: %b\r\n" % name
        return head[:-2] + line + b"\r\n"

    def _hop(self, request: Request, mark: Mark) -> tuple[bytes, bytes] | None:
        """The field that shows loops, on a connection that needs it."""
        if self._hops is None or mark is Mark.NEVER or (mark is Mark.PASS_ON and not request.hops):
            return None
        return self._hops.field(request.hops, request.method, self._url(request))

    def _absolute(self, target: bytes) -> bytes:
        """The target as a proxy takes it (RFC 9112 3.2.2); ``*`` is an empty path (3.2.4)."""
        return b"http://" + self.origin.authority + (b"" if target == b"*" else target)

    def _references(self, headers: Headers) -> Headers:
        """Rewrite URLs with the client's authority to the upstream's, like ``Host``."""
        if not has_references(headers):
            return headers
        own = first_value(headers, b"host") or b""
        origin, base = self.origin, self._base_path
        if own == origin.authority and not base:
            return headers
        authority = own if self._keep_host else origin.authority
        start = b"%b://%b%b" % (origin.scheme.encode("ascii"), authority, base)

        def mapped(url: bytes) -> bytes:
            at = path_at(url, own)
            if at is None:
                return url
            return (start if at else base) + (url[at:] or b"/")

        return with_references(headers, mapped)

    def _host(self, headers: Headers) -> Headers:
        host = self.origin.authority
        if first_value(headers, b"host") is None:
            return ((b"Host", host), *headers)
        if self._keep_host:
            return headers
        return tuple(
            [(name, host if name.lower() == b"host" else value) for name, value in headers]
        )

    def retire(self) -> None:
        """Close idle connections. What is under way may end."""
        self._pool.retire()
        if self._tunnels is not None:
            self._tunnels.retire()
        if self._http2 is not None:
            self._http2.retire()

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        if self._tunnels is not None:
            self._tunnels.close()
        if self._http2 is not None:
            self._http2.close()


async def _timed(
    answer: Coroutine[Any, Any, Response], told: Callable[[int | None, float], None]
) -> Response:
    """An answer, of which ``told`` gets the status and the seconds until its head."""
    began = monotonic()
    try:
        response = await answer
    except UpstreamTimeout:
        told(None, monotonic() - began)
        raise
    except BuffrError as error:
        told(error.status, monotonic() - began)
        raise
    told(response.head.status, monotonic() - began)
    return response


def _switched(answer: Switched, key: bytes, sent: Headers) -> tuple[Switched, Deflate | None]:
    try:
        check_answer(answer.head, key)
        return answer, accepted(sent, answer.head.headers)
    except BuffrError:
        answer.abort()
        raise


async def _asked(
    pool: Pool,
    request: Request,
    outgoing: Outgoing,
    client: Client | None,
    begun: Connection | None = None,
) -> Response | Switched:
    """Send a request on its client's bound connection if there is one, otherwise a pooled one.

    One that was sent already, on a pooled connection, is awaited.
    """
    bound = client is not None and client.bonds and client in pool.bonds
    if begun is None and (bound or request.authenticates_connection):
        return await _asked_alone(pool, request, outgoing, client)
    connection = begun or (None if outgoing.upgrade else pool.take())
    answer: Response | Switched | None = None
    if connection is not None:
        try:
            answer = await (connection.ask(outgoing) if begun is None else begun.asked(outgoing))
        except UpstreamFailed as error:
            if not _can_repeat(request, connection, error):
                raise
    if connection is None or answer is None:
        connection = await pool.dial(request.hops)
        answer = await connection.ask(outgoing)
    offered = isinstance(answer, Response) and answer.head.offers_connection_auth
    if offered and connection.reusable:
        pool.withdraw(client, connection)
    return answer


async def _asked_alone(
    pool: Pool, request: Request, outgoing: Outgoing, client: Client | None
) -> Response | Switched:
    """Send a request on a connection that is bound to its client's.

    If that connection ends, the client's ends with this answer: the client
    would still believe that it is authenticated.
    """
    connection, answer = pool.bonds.take(client), None
    if connection is not None:
        try:
            answer = await connection.ask(outgoing)
        except BuffrError as error:
            _part(client)
            if not _can_repeat(request, connection, error) or continues_handshake(request):
                raise
    if connection is None or answer is None:
        connection = await pool.dial(request.hops)
        pool.bonds.bind(client, connection)
        try:
            answer = await connection.ask(outgoing)
        except BuffrError:
            _part(client)
            raise
    if client is not None and isinstance(answer, Switched):
        pool.bonds.release(client)
    elif client not in pool.bonds or not connection.reusable:
        _part(client)
    return answer


def _part(client: Client | None) -> None:
    if client is not None:
        client.part()


def _can_repeat(request: Request, pooled: Connection, error: BuffrError) -> bool:
    """Whether no part of an answer had come and a retry does no harm (RFC 9110 9.2.2)."""
    return (
        request.method in _SAFE
        and request.body_length == 0
        and not pooled.answered
        and type(error) is UpstreamFailed
    )
