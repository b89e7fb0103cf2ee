"""Replaces the ids of JSON-RPC messages in a replayed answer by those of the live client.

It is done message by message, not text by text: an id is often a single digit.
The answer is a JSON document, or an event stream with a message in each event
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from buffr.formats.jsonrpc import with_ids

__all__ = ["LiveMessages", "data_of", "events"]

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"(\r\n|\n|\r)")
_DATA = re.compile(rb"data:? ?")
_DATA_LINE = re.compile(rb"data(?:: ?(.*))?", re.DOTALL)
_LONGEST_BYTES = 16 << 20


def events(stream: bytes) -> list[bytes]:
    """The events of a whole stream, each without its empty line."""
    return _EVENT_END.split(stream)


def data_of(event: bytes) -> bytes:
    """The data of an event."""
    found = [_DATA_LINE.fullmatch(line) for line in _LINE_END.split(event)[::2]]
    return b"\n".join([each[1] or b"" for each in found if each is not None])


@frozen(eq=False)
class LiveMessages:
    """Pairs of a recorded and a live id, and of progress tokens; all spelled as JSON.

    ``streamed`` says that the answer is an event stream. ``bool()`` says
    whether anything would change.
    """

    ids: Mapping[bytes, bytes]
    tokens: Mapping[bytes, bytes]
    streamed: bool

    def __bool__(self) -> bool:
        pairs = (*self.ids.items(), *self.tokens.items())
        return any(old != new for old, new in pairs)

    def whole(self, data: bytes) -> bytes:
        """A whole answer with its messages' ids replaced."""
        stream = self.stream()
        return stream.feed(data) + stream.end()

    def stream(self) -> MessageStream:
        """A stream for an answer that comes in pieces, split anywhere."""
        return MessageStream(self)


class MessageStream:
    """Replaces in pieces: an event is complete with its empty line, a document at its end."""

    def __init__(self, live: LiveMessages) -> None:
        self.changed = False
        self._live = live
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result, without a message whose end has not come."""
        self._held += data
        if not self._live.streamed:
            return b""
        out, done = [], 0
        for end in _EVENT_END.finditer(self._held):
            out.append(self._event(self._held[done : end.start()]) + end[0])
            done = end.end()
        if len(self._held) - done > _LONGEST_BYTES:
            out.append(self._held[done:])
            done = len(self._held)
        self._held = self._held[done:]
        return b"".join(out)

    def end(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        return self._event(held) if self._live.streamed else self._message(held)

    def _event(self, text: bytes) -> bytes:
        """An event without its empty line; the lines of its data are one message."""
        lines = _LINE_END.split(text)
        places = [at for at in range(0, len(lines), 2) if lines[at].startswith(b"data")]
        starts = [_DATA.match(lines[at]) for at in places]
        if not places or not all(starts):
            return text
        ends = [start.end() for start in starts if start is not None]
        data = b"\n".join([lines[at][end:] for at, end in zip(places, ends, strict=True)])
        changed = self._message(data).split(b"\n")
        for at, end, line in zip(places, ends, changed, strict=True):
            lines[at] = lines[at][:end] + line
        return b"".join(lines)

    def _message(self, text: bytes) -> bytes:
        replaced = with_ids(text, self._live.ids, self._live.tokens)
        self.changed = self.changed or replaced != text
        return replaced
