"""The pool as an ``IAgent``, for requests that buffr itself makes as an ordinary client.

treq runs on it. The relay does not use it: an agent's response loses the
order and case of its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IConsumer, IProtocol, ITransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from buffr.errors import BuffrError
from buffr.message import CHUNKED, Piece, Request, ResponseHead
from buffr.origin import Origin
from buffr.transport.streams import BodyReader, BodyStream
from buffr.upstream.upstream import Upstream

__all__ = ["AgentResponse", "UpstreamAgent"]

_NOWHERE = UNIXAddress(None)


@implementer(IAgent)
class UpstreamAgent:
    """Makes requests through upstreams; ``upstream_for`` returns the one of an origin."""

    def __init__(self, upstream_for: Callable[[Origin], Upstream]) -> None:
        self._upstream_for = upstream_for
        self._upstreams: dict[Origin, Upstream] = {}

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: WebHeaders | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803  # Twisted's name
    ) -> Deferred[IResponse]:
        """Make a request. Fails with a ``BuffrError``."""
        return Deferred.fromCoroutine(self._request(method, uri, headers, bodyProducer))

    async def _request(
        self,
        method: bytes,
        uri: bytes,
        headers: WebHeaders | None,
        producer: IBodyProducer | None,
    ) -> IResponse:
        origin, target = _split(uri)
        fields = [
            (name, value)
            for name, values in (headers or WebHeaders()).getAllRawHeaders()
            for value in values
        ]
        length = 0 if producer is None else producer.length
        if length == UNKNOWN_LENGTH:
            length = CHUNKED
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif producer is not None:
            fields.append((b"Content-Length", b"%d" % length))
        request = Request(method, target, tuple(fields), body_length=length)
        body = b"" if producer is None else _produced(producer, chunked=length == CHUNKED)
        response = await self._upstream(origin).send(request, body, lambda _: None)
        return AgentResponse(request, response.head, response.length, response.body, response.abort)

    def _upstream(self, origin: Origin) -> Upstream:
        if origin not in self._upstreams:
            self._upstreams[origin] = self._upstream_for(origin)
        return self._upstreams[origin]

    def close(self) -> None:
        """Close every connection."""
        for upstream in self._upstreams.values():
            upstream.close()


def _split(uri: bytes) -> tuple[Origin, bytes]:
    text, mark, query = uri.decode("ascii").partition("?")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BuffrError(f"not an http or https URL: {uri.decode('ascii', 'replace')}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + mark + query.partition("#")[0]
    return Origin(parts.scheme, parts.hostname, port), target.encode("ascii")


@implementer(IConsumer)
class _Intake:
    """Lets a body producer fill a stream, at the pace of its reader."""

    def __init__(self, *, chunked: bool) -> None:
        self.stream = BodyStream(self._pause, self._resume)
        self._chunked = chunked
        self._producer: Any = None

    def registerProducer(self, producer: Any, _streaming: bool) -> None:  # noqa: FBT001
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self.stream.feed([Piece(data, len(data) if self._chunked else None)])

    def _pause(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def _resume(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()


def _produced(producer: IBodyProducer, *, chunked: bool) -> BodyStream:
    intake = _Intake(chunked=chunked)
    intake.registerProducer(producer, True)
    done = producer.startProducing(intake)
    done.addCallbacks(
        lambda _: intake.stream.finish(),
        lambda failure: intake.stream.fail(BuffrError(failure.getErrorMessage())),
    )
    return intake.stream


@implementer(IResponse)
class AgentResponse:
    """An answer in twisted.web's terms. ``length`` is as in ``response_length``.

    ``abort`` gives up a body that is incomplete.
    """

    def __init__(
        self,
        request: Request,
        head: ResponseHead,
        length: int,
        body: BodyReader,
        abort: Callable[[], None],
    ) -> None:
        self.version = (b"HTTP", 1, head.minor)
        self.code = head.status
        self.phrase = head.reason
        self.headers = WebHeaders()
        for name, value in head.headers:
            self.headers.addRawHeader(name, value)
        self.length = length if length >= 0 else UNKNOWN_LENGTH
        self.request = request
        self.previousResponse: IResponse | None = None
        self._body = body
        self._abort = abort

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver the body to a protocol. Its ``connectionLost`` is called at the end."""
        protocol.makeConnection(_BodyTransport(self._abort))
        Deferred.fromCoroutine(self._deliver(protocol)).addErrback(
            lambda failure: protocol.connectionLost(Failure(ResponseFailed([failure])))
        )

    async def _deliver(self, protocol: IProtocol) -> None:
        while (piece := await self._body.read()) is not None:
            protocol.dataReceived(piece.data)
        protocol.connectionLost(Failure(ResponseDone()))


@implementer(ITransport)
class _BodyTransport:
    """The transport of a body's protocol, which can close it but not write."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort

    def loseConnection(self) -> None:
        self._abort()

    def write(self, data: bytes) -> None:
        """Drop what is written."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Drop what is written."""

    def getPeer(self) -> IAddress:
        return _NOWHERE

    def getHost(self) -> IAddress:
        return _NOWHERE
