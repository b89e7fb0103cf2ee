"""An answer goes from its upstream to one client, and nothing is kept of it."""

from __future__ import annotations

from buffr.errors import BuffrError, reset_of
from buffr.transport.sink import Sink
from buffr.upstream.connection import Response

__all__ = ["relayed"]


async def relayed(response: Response, sink: Sink) -> str | None:
    """Pass an answer on as it comes, as fast as the client takes it.

    Returns why it broke off, if it did. Gives the upstream up when the client
    leaves. Raises ``ClientGone``.
    """
    body = response.body
    whole = False
    try:
        sink.begin(response.head)
        while True:
            if not body.ready:
                sink.flush()
            try:
                piece = await body.read()
            except BuffrError as error:
                whole = True
                sink.abort(reset_of(error))
                return error.message
            if piece is None:
                break
            sink.write(piece)
            await sink.drain()
        whole = True
    finally:
        if not whole:
            response.abort()
    sink.end(body.trailers)
    return None
