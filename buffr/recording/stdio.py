"""A conversation over standard streams, as the interactions that it would be over HTTP.

In the stdio transport of MCP each message is a line. A message of the client
becomes a ``POST``, and what the server says until it has answered becomes the
body of the answer, as in streamable HTTP; what belongs to no call becomes the
standing stream of a ``GET``. So both transports have one form of recording:
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field

from buffr.formats.jsonrpc import Message, messages
from buffr.interaction import LEFT_OPEN, Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import Headers, ResponseHead

__all__ = ["INITIALIZED", "PATH", "SESSION", "StdioTranscript", "request_headers"]

PATH = b"/mcp"
SESSION = b"Mcp-Session-Id"
INITIALIZED = "notifications/initialized"
_INITIALIZE = "initialize"
_JSON, _EVENTS = b"application/json", b"text/event-stream"
_ENDED = "the server ended before it answered"
_MOST_BYTES = 64 << 20


def request_headers(session: bytes | None) -> Headers:
    """The fields of a client's message."""
    fields = ((b"Content-Type", _JSON), (b"Accept", b"%b, %b" % (_JSON, _EVENTS)))
    return fields if session is None else (*fields, (SESSION, session))


@define(eq=False)
class _Stream:
    """What the server said on one stream: events, each with its time and its place."""

    request: RecordedRequest
    last: float
    waiting: set[bytes] = field(factory=set)
    token: set[bytes] = field(factory=set)
    began: int = 0
    events: list[tuple[bytes, Chunk]] = field(factory=list)
    size_bytes: int = 0

    def add(self, line: bytes, now: float, after: int) -> None:
        event = b"event: message\ndata: " + line + b"\n\n"
        self.size_bytes += len(event)
        delay_ms = max(0, round((now - self.last) * 1e3))
        if self.size_bytes <= _MOST_BYTES:
            self.events.append((event, Chunk(len(event), delay_ms, after)))
        self.last = now

    def interaction(
        self, session: Headers = (), *, truncated: str | None = None, uncertain: str | None = None
    ) -> HTTPInteraction:
        fields = ((b"Content-Type", _EVENTS), *session)
        return HTTPInteraction(
            request=self.request,
            response=ResponseHead(200, b"OK", fields),
            body=Body.of(b"".join([event for event, _ in self.events])),
            chunks=tuple([chunk for _, chunk in self.events]),
            truncated=truncated,
            uncertain=uncertain,
        )


class StdioTranscript:
    """Makes interactions of lines; a line is without its end. Times are of a monotonic clock.

    ``client`` and ``server`` return the interactions that a line completes.
    """

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._begun = False
        self._open: list[_Stream] = []
        self._standing: _Stream | None = None
        self._messages = 0
        self._answers = 0

    def client(self, line: bytes, now: float) -> Iterator[HTTPInteraction]:
        """A line of the client."""
        said = messages(line)
        if not said:
            return
        request = RecordedRequest(b"POST", PATH, self._fields(), Body.of(line))
        asks = {message.id for message in said if message.method and message.id}
        tokens = {message.token for message in said if message.method and message.token}
        self._answers += sum(message.is_answer for message in said)
        self._messages += self._begun
        if asks:
            self._begun = self._begun or said[0].method == _INITIALIZE
            self._open.append(_Stream(request, now, asks, tokens, self._answers))
            return
        if said[0].method == INITIALIZED and self._standing is None:
            standing = RecordedRequest(b"GET", PATH, self._fields())
            self._standing = _Stream(standing, now)
        yield HTTPInteraction(request, ResponseHead(202, b"Accepted", ((b"Content-Length", b"0"),)))

    def server(self, line: bytes, now: float) -> Iterator[HTTPInteraction]:
        """A line of the server."""
        said = messages(line)
        if not said:
            return
        answered = {message.id for message in said if message.is_answer}
        stream = self._stream_of(said, answered)
        if stream is None:
            return
        after = self._messages if stream is self._standing else self._answers - stream.began
        stream.add(line, now, after)
        stream.waiting -= answered
        if stream in self._open and not stream.waiting:
            self._open.remove(stream)
            yield self._answer(stream, line)

    def ended(self) -> Iterator[HTTPInteraction]:
        """Both sides are done: what is left."""
        for stream in self._open:
            yield stream.interaction(truncated=_ENDED)
        if self._standing is not None:
            yield self._standing.interaction(uncertain=LEFT_OPEN)

    def _fields(self) -> Headers:
        return request_headers(self._session if self._begun else None)

    def _stream_of(self, said: tuple[Message, ...], answered: set[bytes]) -> _Stream | None:
        """The call that is answered, or that is the only one under way; else the standing one."""
        tokens = {message.token for message in said if message.token}
        for stream in self._open:
            if stream.waiting & answered or stream.token & tokens:
                return stream
        if len(self._open) == 1 and not answered:
            return self._open[0]
        return self._standing

    def _answer(self, stream: _Stream, line: bytes) -> HTTPInteraction:
        begins = stream.request.headers == request_headers(None)
        session = ((SESSION, self._session),) if begins else ()
        interaction = stream.interaction(session)
        if len(stream.events) > 1:
            return interaction
        head = ResponseHead(200, b"OK", ((b"Content-Type", _JSON), *session))
        return evolve(interaction, response=head, body=Body.of(line), chunks=())
