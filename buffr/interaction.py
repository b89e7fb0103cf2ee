"""One recorded exchange, as stores keep it and recorders make and play it."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from buffr.message import Headers, ResponseHead

__all__ = ["Body", "Chunk", "HTTPInteraction", "RecordedRequest"]


@frozen
class Chunk:
    """A stretch of a body that arrived at once.

    ``delay_ms`` is the time since the chunk before, or since the head for
    the first one.
    """

    size_bytes: int
    delay_ms: int = 0


@frozen
class Body:
    """A body's bytes: in memory, or in a file of their own when they are many.

    ``file`` holds the bytes when ``data`` is empty and ``size_bytes`` is not
    zero; its name is the lower-case hex SHA-256 of the bytes.
    """

    data: bytes = b""
    size_bytes: int = 0
    file: Path | None = None

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(data, len(data))


@frozen(eq=False)
class RecordedRequest:
    """A request as it is stored: redacted, and without what belongs to the hop.

    ``scheme``, ``host`` and ``port`` are absent behind a reverse port, where
    they say nothing about the request. ``target`` is the client's.
    """

    method: bytes
    target: bytes
    headers: Headers = ()
    body: Body = Body()
    scheme: str | None = None
    host: str | None = None
    port: int | None = None


@frozen(eq=False)
class HTTPInteraction:
    """A request and its answer.

    ``chunks`` cut the response body where it was cut on the wire or in time;
    empty means whole. ``truncated`` says why the answer is not whole; such
    an interaction is kept, and never replayed. ``recorded_at`` is RFC 3339
    in UTC.
    """

    request: RecordedRequest
    response: ResponseHead
    body: Body = Body()
    chunks: tuple[Chunk, ...] = ()
    trailers: Headers = ()
    truncated: str | None = None
    recorded_at: str | None = None
    captures: tuple[tuple[str, str], ...] = field(default=())
