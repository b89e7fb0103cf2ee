"""A request's body: read before it is sent if its identity is needed, otherwise streamed."""

from __future__ import annotations

from hashlib import sha256

from attrs import frozen

from buffr.errors import BuffrError
from buffr.exchanges.route import Cached, Recorded, Route
from buffr.formats.codings import GZIP_START
from buffr.formats.envelopes import is_enveloped
from buffr.interaction import Body
from buffr.matching.body import IN_MEMORY, LongBody
from buffr.message import Request, ResponseHead, media_type
from buffr.recording.http import TeeReader
from buffr.recording.tape import Tape, TapeReader
from buffr.recording.turns import TurnLog
from buffr.redaction.for_log import credentials_in, target_for_log
from buffr.transport.sink import Sink
from buffr.transport.spool import Spool
from buffr.transport.streams import BodyReader

__all__ = ["RequestBody", "read_whole", "stream_through"]

_CONTINUE = ResponseHead(100, b"Continue", ())
_DIGEST_MARK = b"sha256:"


@frozen(eq=False)
class RequestBody:
    """A request's body: how it is sent, what identifies it, and where it is recorded from.

    ``tape`` is ``None`` if the body is in ``outgoing`` as bytes. ``turns`` are
    noted if the answer may begin before the body has come.
    """

    outgoing: bytes | BodyReader
    identity: bytes | LongBody = b""
    tape: Tape | None = None
    expect_met: bool = False
    turns: TurnLog | None = None

    @property
    def exact(self) -> bytes:
        """Distinguishes bodies byte for byte: the bytes as received, or the digest of a long body.

        That is ``sha256:`` and the 32 bytes of a SHA-256. Empty if the body is
        not read before it is sent.
        """
        if isinstance(self.identity, LongBody):
            return _DIGEST_MARK + self.identity.raw_digest
        # A short body that spells a digest must not be mistaken for the body with that digest.
        spells_digest = self.identity.startswith(_DIGEST_MARK)
        return _DIGEST_MARK + sha256(self.identity).digest() if spells_digest else self.identity

    @property
    def shown(self) -> Body:
        """The body for hooks: without its bytes if it takes long to read."""
        if not isinstance(self.identity, LongBody):
            return Body.of(self.identity)
        size_bytes = len(self.outgoing) if isinstance(self.outgoing, bytes) else 1
        return Body(size_bytes=size_bytes if self.tape is None else self.tape.size_bytes)

    def recorded(self) -> Body:
        if self.tape is not None:
            return self.tape.body()
        assert isinstance(self.outgoing, bytes)
        return Body.of(self.outgoing)

    @property
    def whole(self) -> bool:
        """Whether all of it was read; an upstream may answer before it has read everything."""
        return not isinstance(self.outgoing, TeeReader) or self.outgoing.whole

    def close(self) -> None:
        if self.tape is not None:
            self.tape.close()


def _tape(route: Route) -> Tape:
    return Tape(Spool(route.body_memory_bytes, route.spool_dir), 0.0)


async def read_whole(
    route: Recorded | Cached, request: Request, body: bytes | BodyReader, sink: Sink
) -> RequestBody:
    """Read a whole body before anything else is done, as its identity is needed."""
    if isinstance(body, bytes):
        return RequestBody(body, await _identity(route, request, body))
    if request.expects_continue:
        sink.inform(_CONTINUE)
    tape = _tape(route)
    try:
        while (piece := await body.read()) is not None:
            tape.append(piece, 0.0)
            if tape.failure is not None:
                raise BuffrError(f"cannot store the request's body: {tape.failure.strerror}")
        tape.trailers = body.trailers
        whole = tape.read_all() if tape.size_bytes <= IN_MEMORY else tape.body()
        identity = await _identity(route, request, whole)
    except BaseException:
        tape.close()
        raise
    return RequestBody(TapeReader(tape), identity, tape, request.expects_continue)


async def _identity(
    route: Recorded | Cached, request: Request, body: bytes | Body
) -> bytes | LongBody:
    """The bytes of a body, or its values if it takes long to compare."""
    if isinstance(body, bytes):
        coded = request.is_coded or body.startswith(GZIP_START)
        if not (coded and route.matcher.takes_long(request, body)):
            return body
        body = Body.of(body)
    return await route.bodies.read(request, body, lambda: _words(route, request))


def _words(route: Route, request: Request) -> str:
    """Method and target for logs, without credentials."""
    credentials = credentials_in(request.target, request.headers, route.redaction)
    target = target_for_log(request.target, route.redaction, credentials)
    return f"{request.method.decode('ascii')} {target.decode('ascii')}"


def stream_through(
    route: Route, request: Request, stream: BodyReader, *, record: bool
) -> RequestBody:
    """Forward a body as it arrives."""
    if not record:
        return RequestBody(stream)
    tape = _tape(route)
    turns = TurnLog() if is_enveloped(media_type(request.headers)) else None
    return RequestBody(TeeReader(stream, tape, turns), b"", tape, turns=turns)
