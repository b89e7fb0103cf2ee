"""Records an answer as an ordinary HTTP client: treq, on buffr's own connections.

treq and twisted.web regroup header fields, decode bodies and drop trailers. So
what is sent and what comes is tapped below them: the recording has the order,
the duplicates, the content coding, the chunks and the trailers of the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers as WebHeaders
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from buffr import __version__
from buffr.errors import BuffrError, UpstreamTimeout
from buffr.interaction import CLIENT_LEFT, Body, Interaction, RecordedRequest
from buffr.message import Headers, Piece, Request, ResponseHead, first_value, with_length
from buffr.origin import Origin
from buffr.recording.http import recording
from buffr.recording.player import reader
from buffr.recording.tape import Tape
from buffr.transport.spool import Spool
from buffr.upstream.agent import AgentResponse
from buffr.upstream.connection import Response
from buffr.upstream.upstream import Upstream

__all__ = ["RECORDER", "Answered", "Patience", "TreqClient"]

RECORDER = f"buffr/{__version__} refresh"
"""What recordings made here say about their program."""

_BLOCK_BYTES = 65536
_NOT_FOR_TREQ = frozenset((b"content-encoding", b"set-cookie"))


@frozen
class Patience:
    """Bounds of one answer: seconds for all of it, and bytes that are kept of its body.

    Bodies over ``memory_bytes`` are in a file in ``spool_dir``.
    """

    answer_s: float = 60
    body_bytes: int = 1 << 30
    memory_bytes: int = 1 << 20
    spool_dir: Path | None = None


@frozen(eq=False)
class Answered:
    """A recorded answer. A body in a file lives until ``close``."""

    interaction: Interaction
    close: Callable[[], None]


@define(eq=False)
class TreqClient:
    """Asks and records. ``seconds`` is a monotonic clock, ``timestamp`` the time as recorded.

    ``upstream_for`` returns the same upstream for the same origin.
    """

    upstream_for: Callable[[Origin], Upstream]
    reactor: Any
    seconds: Callable[[], float]
    timestamp: Callable[[], str]
    patience: Patience = Patience()

    async def ask(
        self, origin: Origin, request: RecordedRequest, stay_s: float | None = None
    ) -> Answered:
        """Send a request exactly as it is recorded, and record the answer.

        An answer that breaks off, or takes too long, is truncated. ``stay_s``
        is given for a stream that only its client ends: that long is stayed.
        Raises a ``BuffrError`` if there is no answer at all.
        """
        tap = _Tap(self.upstream_for(origin), request, self)
        client = HTTPClient(tap)
        asking = client.request(
            request.method.decode("ascii"),
            f"{origin.url}/",
            allow_redirects=False,
            unbuffered=True,
            reactor=self.reactor,
        )
        timer = self.reactor.callLater(self.patience.answer_s, tap.give_up, asking)
        try:
            response = await asking
            if stay_s is not None:
                timer.reset(stay_s)
                tap.leaves = True
            await _read(response, tap)
            return tap.answered()
        except Exception as error:
            tap.close()
            if tap.too_late:
                raise UpstreamTimeout(
                    f"no answer came within {self.patience.answer_s:g} s"
                ) from error
            raise
        finally:
            if timer.active():
                timer.cancel()


async def _read(response: Any, tap: _Tap) -> None:
    """Let treq read the body to its end, or to where it breaks off."""
    try:
        await response.collect(lambda _: None)
    except ResponseFailed as failed:
        error = failed.reasons[0].value
        tap.truncated = error.message if isinstance(error, BuffrError) else str(error)


@implementer(IAgent)
class _Tap:
    """The agent for one request: sends it as recorded, and tapes the answer.

    ``truncated`` says why the answer is incomplete. ``leaves`` says that its
    stream goes on until the client has left.
    """

    def __init__(self, upstream: Upstream, request: RecordedRequest, client: TreqClient) -> None:
        self.truncated: str | None = None
        self.too_late = self.leaves = False
        self._upstream = upstream
        self._request = request
        self._client = client
        self._head: ResponseHead | None = None
        self._tape: Tape | None = None
        self._abort: Callable[[], None] | None = None

    def request(
        self,
        _method: bytes,
        _uri: bytes,
        _headers: WebHeaders | None = None,
        _producer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send the recorded request: what treq made of it has another order and other fields."""
        return Deferred.fromCoroutine(self._send())

    async def _send(self) -> IResponse:
        recorded = self._request
        size = recorded.body.size_bytes
        headers = _framed(recorded.headers, size)
        request = Request(recorded.method, recorded.target, headers, body_length=size)
        body = recorded.body.data if recorded.body.file is None else _FileReader(recorded.body)
        response = await self._upstream.send(request, body, lambda _: None, expect_met=True)
        self._abort = response.abort
        patience = self._client.patience
        spool = Spool(patience.memory_bytes, patience.spool_dir)
        self._tape = tape = Tape(spool, self._client.seconds())
        self._head = head = response.head.for_next_hop
        # treq would decode what nobody reads, and keep cookies for requests that have their own.
        shown = tuple([one for one in head.headers if one[0].lower() not in _NOT_FOR_TREQ])
        return AgentResponse(
            request,
            evolve(head, headers=shown),
            response.length,
            _Taping(response, tape, self),
            response.abort,
        )

    def within_bounds(self, size_bytes: int) -> None:
        """Raise ``BuffrError`` if so much is too much to keep."""
        if size_bytes > self._client.patience.body_bytes:
            raise BuffrError(f"the answer is over {self._client.patience.body_bytes} bytes long")

    @property
    def seconds(self) -> Callable[[], float]:
        return self._client.seconds

    def give_up(self, asking: Deferred[Any]) -> None:
        """The time for the answer is over."""
        self.too_late = True
        if self._abort is not None:
            self._abort()
        else:
            asking.cancel()

    def answered(self) -> Answered:
        """What was recorded."""
        assert self._head is not None
        assert self._tape is not None
        truncated = self.truncated
        if truncated is not None and self.too_late and self.leaves:
            truncated = CLIENT_LEFT
        elif truncated is not None and self.too_late:
            truncated = f"it did not end within {self._client.patience.answer_s:g} s"
        interaction = recording(
            self._request,
            self._head,
            self._tape,
            recorded_at=self._client.timestamp(),
            recorded_by=RECORDER,
            truncated=truncated,
        )
        return Answered(interaction, self._tape.close)

    def close(self) -> None:
        if self._tape is not None:
            self._tape.close()


class _Taping:
    """Passes a body on to treq, and tapes its pieces with their times."""

    def __init__(self, response: Response, tape: Tape, tap: _Tap) -> None:
        self.trailers: Headers = ()
        self._response = response
        self._tape = tape
        self._tap = tap

    async def read(self) -> Piece | None:
        piece = await self._response.body.read()
        if piece is None:
            self.trailers = self._tape.trailers = self._response.body.trailers
            self._tape.uncertain = self._response.body.uncertain
            return None
        self._tape.append(piece, self._tap.seconds())
        if self._tape.failure is not None:
            raise BuffrError(f"the answer cannot be kept: {self._tape.failure.strerror}")
        try:
            self._tap.within_bounds(self._tape.size_bytes)
        except BuffrError:
            self._response.abort()
            raise
        return piece


class _FileReader:
    """Reads a recorded body from its file. See ``BodyReader``."""

    def __init__(self, body: Body) -> None:
        self.trailers: Headers = ()
        self._size_bytes = body.size_bytes
        self._read = reader(body)
        self._at = 0

    async def read(self) -> Piece | None:
        if self._at == self._size_bytes:
            return None
        data = self._read(self._at, min(_BLOCK_BYTES, self._size_bytes - self._at))
        self._at += len(data)
        return Piece(data)


def _framed(headers: Headers, size_bytes: int) -> Headers:
    """The fields with the ``Content-Length`` of the body, which may have been edited."""
    if not size_bytes or first_value(headers, b"content-length") is not None:
        return with_length(headers, size_bytes)
    return (*headers, (b"Content-Length", b"%d" % size_bytes))
