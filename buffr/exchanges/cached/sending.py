"""A stored response becomes an answer (RFC 9111 4.3.2, RFC 9110 14)."""

from __future__ import annotations

from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.message import Headers, Request
from buffr.policy.cache.conditions import not_modified, not_modified_head
from buffr.policy.cache.keys import Asked
from buffr.policy.cache.ranges import Unsatisfiable, asked_part, part_head
from buffr.recording.player import AT_ONCE, play
from buffr.stores.cache import CacheEntry
from buffr.transport.sink import Sink

__all__ = ["send_stored"]


async def send_stored(
    sink: Sink, request: Request, asked: Asked, entry: CacheEntry, told: Headers
) -> int:
    """Answer with a stored response, or with as much of it as is asked for; the status.

    ``told`` are the cache's own fields.
    """
    head = entry.head.with_fields(told)
    if asked.conditional and not_modified(request.headers, head, entry.responded_at):
        head = not_modified_head(head)
        sink.answer(head, b"", (), ())
        await sink.drain()
        return head.status
    if request.method == b"HEAD":
        sink.answer(head, b"", (), ())
        await sink.drain()
        return head.status
    body = entry.body
    if asked.ranged:
        part = asked_part(request.headers, head, body.size_bytes)
        if part is not None:
            head = part_head(head, part, body.size_bytes)
            data = b""
            if not isinstance(part, Unsatisfiable):
                data = body.data[part.first : part.last + 1]
            sink.answer(head, data, (len(data),), ())
            await sink.drain()
            return head.status
    if body.file is None and body.size_bytes <= AT_ONCE:
        sink.answer(head, body.data, (body.size_bytes,), entry.trailers)
        await sink.drain()
    else:
        recorded = RecordedRequest(request.method, request.target)
        await play(HTTPInteraction(recorded, head, body, trailers=entry.trailers), sink)
    return head.status
