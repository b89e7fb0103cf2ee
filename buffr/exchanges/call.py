"""One call to an upstream: the request as it goes out, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred

from buffr.errors import BuffrError
from buffr.exchanges.route import Route
from buffr.formats.codings import GZIP_START
from buffr.interaction import Body, RecordedRequest
from buffr.matching.body import IN_MEMORY, LongBody
from buffr.message import Request, ResponseHead
from buffr.recording.http import TeeReader, passed_on, recorded_request, recording
from buffr.recording.tape import Tape, TapeReader
from buffr.redaction.for_log import credentials_in, target_for_log
from buffr.transport.sink import Sink
from buffr.transport.spool import Spool
from buffr.transport.streams import BodyReader, BodyStream
from buffr.upstream.bound import Client
from buffr.upstream.connection import Response

__all__ = ["RequestBody", "UpstreamCall", "read_whole", "stream_through"]

_CONTINUE = ResponseHead(100, b"Continue", ())
_DIGEST_MARK = b"sha256:"


@frozen(eq=False)
class RequestBody:
    """A request's body: how it is sent, what identifies it, and where it is recorded from.

    ``tape`` is ``None`` when the body is in ``outgoing`` as bytes.
    """

    outgoing: bytes | BodyReader
    identity: bytes | LongBody = b""
    tape: Tape | None = None
    expect_met: bool = False

    @property
    def exact(self) -> bytes:
        """What tells bodies apart byte for byte: the bytes as they came, of many their digest.

        That is ``sha256:`` and the 32 bytes of a SHA-256. Empty where the body
        is not read before it is sent.
        """
        if isinstance(self.identity, LongBody):
            return _DIGEST_MARK + self.identity.raw_digest
        # A short body that spells a digest must not be taken for the body that has it.
        spells_digest = self.identity.startswith(_DIGEST_MARK)
        return _DIGEST_MARK + sha256(self.identity).digest() if spells_digest else self.identity

    def recorded(self) -> Body:
        if self.tape is not None:
            return self.tape.body()
        assert isinstance(self.outgoing, bytes)
        return Body.of(self.outgoing)

    @property
    def whole(self) -> bool:
        """Whether all of it was read; an upstream may answer before it has asked for all."""
        return not isinstance(self.outgoing, TeeReader) or self.outgoing.whole

    def close(self) -> None:
        if self.tape is not None:
            self.tape.close()


def _tape(route: Route) -> Tape:
    return Tape(Spool(route.body_memory_bytes, route.spool_dir), 0.0)


async def read_whole(
    route: Route, request: Request, body: bytes | BodyStream, sink: Sink
) -> RequestBody:
    """Read a body to its end before anything is done with it, as its identity is needed."""
    if isinstance(body, bytes):
        return RequestBody(body, await _identity(route, request, body))
    if request.expects_continue:
        sink.inform(_CONTINUE)
    tape = _tape(route)
    try:
        while (piece := await body.read()) is not None:
            tape.append(piece, 0.0)
            if tape.failure is not None:
                raise BuffrError(f"no room to hold the request's body: {tape.failure.strerror}")
        tape.trailers = body.trailers
        whole = tape.read_all() if tape.size_bytes <= IN_MEMORY else tape.body()
        identity = await _identity(route, request, whole)
    except BaseException:
        tape.close()
        raise
    return RequestBody(TapeReader(tape), identity, tape, request.expects_continue)


async def _identity(route: Route, request: Request, body: bytes | Body) -> bytes | LongBody:
    """The bytes of a body, or what stands for one that takes long to compare."""
    if isinstance(body, bytes):
        coded = request.is_coded or body.startswith(GZIP_START)
        if not (coded and route.matcher.takes_long(request, body)):
            return body
        body = Body.of(body)
    return await route.bodies.read(request, body, lambda: _words(route, request))


def _words(route: Route, request: Request) -> str:
    """Method and target for people, without credentials."""
    credentials = credentials_in(request.target, request.headers, route.redaction)
    target = target_for_log(request.target, route.redaction, credentials)
    return f"{request.method.decode('ascii')} {target.decode('ascii')}"


def stream_through(route: Route, stream: BodyStream, *, record: bool) -> RequestBody:
    """Send a body on as it comes."""
    if not record:
        return RequestBody(stream)
    tape = _tape(route)
    return RequestBody(TeeReader(stream, tape), b"", tape)


@define(eq=False)
class UpstreamCall:
    """Asks a route's upstream when it is its turn, and records the answer.

    That is if ``record`` and the status say so; ``kept`` is told when it was,
    ``failed`` when it could not be. ``answer`` is given where the upstream
    was asked already. ``client`` is the connection of the one that asks.
    ``departed`` says whether the upstream was asked yet.
    """

    route: Route
    request: Request
    body: RequestBody
    record: bool
    share: bool
    seconds: Callable[[], float]
    timestamp: Callable[[], str]
    kept: Callable[[RecordedRequest, ResponseHead], None]
    failed: Callable[[BuffrError], None]
    answer: Deferred[Response] | None = None
    client: Client | None = None
    departed: bool = False

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        response = await (self._ask(inform) if self.answer is None else self.answer)
        return Response(passed_on(response.head), response.length, response.body, response.abort)

    async def _ask(self, inform: Callable[[ResponseHead], None]) -> Response:
        assert self.route.upstream is not None
        pace = self.route.pace
        if pace is not None:
            await pace.turn()
        self.departed = True
        response = await self.route.upstream.send(
            self.request,
            self.body.outgoing,
            lambda head: inform(passed_on(head)),
            expect_met=self.body.expect_met,
            client=self.client,
        )
        if pace is not None:
            pace.heard(response.head)
        return response

    def tape(self, head: ResponseHead) -> Tape:
        needed = self.share or self._recorded(head)
        spool = Spool(self.route.body_memory_bytes, self.route.spool_dir) if needed else None
        return Tape(spool, self.seconds())

    def _recorded(self, head: ResponseHead) -> bool:
        return self.record and head.status in self.route.record_statuses

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        if not self._recorded(head):
            return
        assert self.route.store is not None
        if truncated is None and not self.body.whole:
            truncated = "the upstream answered before it had the whole request"
        try:
            for each in (tape, self.body.tape):
                if each is not None and each.failure is not None:
                    raise BuffrError(f"a body could not be kept: {each.failure.strerror}")
            request = recorded_request(self.request, self.body.recorded(), self.route.origin)
            if isinstance(self.body.identity, LongBody):
                key = self.route.matcher.key_of(request, self.body.identity)
                request = evolve(request, body=evolve(request.body, key=key))
            sync = self.route.matcher.sync
            interaction = recording(
                request,
                head,
                tape,
                recorded_at=self.timestamp(),
                truncated=truncated,
                captures=sync.to_store(request) if sync else (),
            )
            await self.route.store.append(interaction)
        except BuffrError as error:
            self.failed(error)
        else:
            if truncated is None:
                self.kept(request, head)

    def close(self) -> None:
        self.body.close()
