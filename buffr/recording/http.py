"""Turns a request and its answer into an interaction."""

from __future__ import annotations

from functools import lru_cache

from buffr.interaction import CLIENT_LEFT, Body, HTTPInteraction, RecordedRequest
from buffr.message import (
    CHUNKED,
    UNTIL_CLOSE,
    Headers,
    Piece,
    Request,
    ResponseHead,
    end_to_end,
    media_type,
    response_length,
)
from buffr.origin import Origin
from buffr.recording.tape import Tape
from buffr.recording.turns import TurnLog
from buffr.transport.streams import BodyReader
from buffr.wire.websocket_handshake import asks_websocket

__all__ = ["TeeReader", "recorded_request", "recording"]

_UPGRADE = frozenset((b"upgrade",))
_NONE: frozenset[bytes] = frozenset()


def recorded_request(request: Request, body: Body, origin: Origin | None = None) -> RecordedRequest:
    """What is stored of a request; ``origin`` is ``None`` behind a reverse port.

    There ``Host`` only names buffr, and elsewhere it repeats the origin. A
    request for a WebSocket keeps the field that distinguishes it from a plain
    one.
    """
    headers = _stored_fields(request.headers, _UPGRADE if asks_websocket(request) else _NONE)
    if origin is None:
        return RecordedRequest(request.method, request.target, headers, body, major=request.major)
    return RecordedRequest(
        request.method,
        request.target,
        headers,
        body,
        scheme=origin.scheme,
        host=origin.host,
        port=origin.port,
        major=request.major,
    )


@lru_cache(maxsize=256)
def _stored_fields(headers: Headers, kept: frozenset[bytes]) -> Headers:
    """The fields that are stored. A client sends many requests with the same ones."""
    fields = end_to_end(headers, keep=kept)
    return tuple([field for field in fields if field[0].lower() != b"host"])


def recording(
    request: RecordedRequest,
    head: ResponseHead,
    tape: Tape,
    *,
    recorded_at: str,
    recorded_by: str | None = None,
    truncated: str | None = None,
    captures: tuple[tuple[str, str], ...] = (),
    took_ms: int | None = None,
) -> HTTPInteraction:
    """The interaction of a request and its taped answer, complete or cut off.

    If its clients left, it has what the last one took. ``took_ms`` is how long
    the upstream took.
    """
    length = response_length(request.method, head)
    streamed = length in (CHUNKED, UNTIL_CLOSE) or media_type(head.headers) == b"text/event-stream"
    left_after_ms = tape.cut() if truncated == CLIENT_LEFT else 0
    chunks = tape.chunks(chunked=length == CHUNKED) if streamed else ()
    return HTTPInteraction(
        request=request,
        response=head,
        body=tape.body(),
        chunks=chunks,
        trailers=tape.trailers,
        truncated=truncated,
        uncertain=tape.uncertain if truncated is None else None,
        recorded_at=recorded_at,
        recorded_by=recorded_by,
        captures=captures,
        left_after_ms=left_after_ms,
        took_ms=took_ms,
        turns=tape.turns,
    )


class TeeReader:
    """Passes a body on, and copies it to a tape; ``whole`` once its end was read.

    ``turns`` notes when the messages of the body pass.
    """

    def __init__(self, body: BodyReader, tape: Tape, turns: TurnLog | None = None) -> None:
        self.trailers: Headers = ()
        self.whole = False
        self._body = body
        self._tape = tape
        self._turns = turns

    async def read(self) -> Piece | None:
        piece = await self._body.read()
        if self._turns is not None:
            self._turns.said(None if piece is None else piece.data)
        if piece is None:
            self.trailers = self._tape.trailers = self._body.trailers
            self.whole = True
        else:
            self._tape.append(piece, 0.0)
        return piece
