"""Calls whose two sides talk in turns: whose turn it was, and whether a client keeps to it.

A call is one exchange whose request and answer are messages (gRPC, Connect).
Its recording has them in two bodies, and ``turns`` says how they interleaved.
As in WebSocket sessions both sides keep their own order, and between the two
there is one rule: what the server said is sent once all of the client's
messages before it have come.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise

from attrs import define, field, frozen

from buffr.formats.envelopes import Counter, ends, split
from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.recording.player import reader
from buffr.recording.readable import content

__all__ = ["CallScript", "CallTurns", "TurnLog"]

_MOST_TURNS = 100_000
"""A call of more turns is replayed only to a client that sends its whole request first."""


class TurnLog:
    """Notes the turns of a call that is relayed, until its request is complete.

    What comes after that needs no note: it had the whole request before it.
    """

    def __init__(self) -> None:
        self._turns: list[int] | None = []
        self._said = Counter()
        self._heard = Counter()

    def said(self, data: bytes | None) -> None:
        """Bytes of the client were passed on; ``None`` is the end of its request."""
        if data is None:
            self._said = _ENDED
        else:
            self._said.feed(data)

    def begun(self) -> None:
        """The head of the answer came."""
        self._note(1)

    def heard(self, data: bytes) -> None:
        """Bytes of the answer came."""
        if self._said is not _ENDED and self._turns is not None:
            before = self._heard.begun
            self._heard.feed(data)
            self._note(self._heard.begun - before)

    def over(self) -> None:
        """The end of the answer came."""
        self._note(1)

    def _note(self, times: int) -> None:
        if self._said is not _ENDED and self._turns is not None:
            self._turns += [self._said.whole] * times
            if len(self._turns) > _MOST_TURNS:
                self._turns = None

    @property
    def turns(self) -> tuple[int, ...]:
        """As in ``HTTPInteraction``."""
        return tuple(self._turns or ())


_ENDED = Counter()


@frozen(eq=False)
class CallScript:
    """A recorded call: the client's messages, each with its envelope, and where the server's end.

    ``head_after``, ``after`` and ``end_after`` are how many of the client's
    messages came before the answer's head, each of its messages, and its end;
    one more than there are is the whole request. ``read`` returns so many bytes
    of the answer from an offset on, or fewer.
    """

    interaction: HTTPInteraction
    client: tuple[bytes, ...]
    server: tuple[int, ...]
    head_after: int
    after: tuple[int, ...]
    end_after: int
    read: Callable[[int, int], bytes]

    @classmethod
    def of(cls, interaction: HTTPInteraction) -> CallScript:
        """The script of a recording. Reads its bodies; raises ``CassetteError``."""
        body = interaction.body
        client = tuple(split(content(interaction.request.body)))
        read = reader(body)
        server = tuple(ends(read, body.size_bytes))
        whole = len(client) + 1
        head, *rest = (*interaction.turns, *[whole] * (len(server) + 2))[: len(server) + 2]
        return cls(interaction, client, server, head, tuple(rest[:-1]), rest[-1], read)

    def sent_bytes(self, count: int) -> bytes:
        """The first of the server's messages; fewer bytes if it has fewer."""
        end = (0, *self.server[:count])[-1]
        return content(self.interaction.body, end)

    @property
    def needs_whole(self) -> bool:
        """Whether the answer does not end before the request is complete."""
        return self.end_after > len(self.client)

    @cached_property
    def delays_ms(self) -> tuple[int, ...]:
        """How long after the message before it each of the server's messages came whole."""
        moments, at_bytes, at_ms = [0], 0, 0
        chunks = iter(self.interaction.chunks)
        for end in self.server:
            while at_bytes < end and (chunk := next(chunks, None)) is not None:
                at_bytes, at_ms = at_bytes + chunk.size_bytes, at_ms + chunk.delay_ms
            moments.append(at_ms)
        return tuple([now - before for before, now in pairwise(moments)])


Same = Callable[[RecordedRequest, bytes, bytes], bool]
"""Whether a live message, the last argument, equals the recorded one of a request."""


@define(eq=False)
class CallTurns:
    """One replay. ``same`` compares messages.

    ``received`` counts the client's messages; the end of its request counts as
    one more. ``drift`` is the number of the first that is not as recorded.
    """

    script: CallScript
    same: Same
    received: int = 0
    whole: bool = False
    drift: int | None = None
    sent: int = 0
    """How many of the server's messages were sent."""
    said: list[bytes] = field(factory=list)
    """The client's messages."""

    def receive(self, message: bytes) -> bool:
        """Take a client's message. Returns whether it is as recorded."""
        script, number = self.script, len(self.said)
        self.said.append(message)
        if number < len(script.client):
            if not self._is_as_recorded(script, number, message):
                self.drift = number
                return False
        elif script.needs_whole:
            self.drift = number
            return False
        self.received += 1
        return True

    def end(self) -> bool:
        """The client's request is complete. Returns whether it is as recorded."""
        self.whole = True
        if len(self.said) < len(self.script.client):
            self.drift = len(self.said)
            return False
        self.received = len(self.script.client) + 1
        return True

    def is_due(self, after: int) -> bool:
        """Whether what came after so many of the client's messages may be sent."""
        return self.received >= after

    def fits(self, other: CallScript) -> bool:
        """Whether another recording has all that was received and sent so far."""
        said, ours, theirs = self.said, self.script, other
        if len(other.client) < len(said) or (self.whole and len(other.client) != len(said)):
            return False
        if other.interaction.response.status != self.script.interaction.response.status:
            return False
        if ours.sent_bytes(self.sent) != theirs.sent_bytes(self.sent):
            return False
        return all(
            self._is_as_recorded(other, number, message) for number, message in enumerate(said)
        )

    def _is_as_recorded(self, script: CallScript, number: int, message: bytes) -> bool:
        return self.same(script.interaction.request, script.client[number], message)

    def switch(self, other: CallScript) -> None:
        """Go on with another recording that fits."""
        self.script, self.drift = other, None
        self.received = len(other.client) + 1 if self.whole else len(self.said)
