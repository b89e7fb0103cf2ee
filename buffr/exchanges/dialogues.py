"""Dialogues: sessions of the Model Context Protocol over HTTP (``match: mcp``).

A call is one exchange, but a session is more than its calls: the server sends
messages of its own at certain points, ids that the client chose come back in
later answers, and the session itself has an id, which the server chooses. So
each session has a state, found by ``Mcp-Session-Id``:
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel

from buffr.formats.jsonrpc import Message, messages
from buffr.interaction import HTTPInteraction, IndexEntry
from buffr.log import say
from buffr.message import Request, ResponseHead, first_value, media_type
from buffr.recording.live_messages import LiveMessages
from buffr.stores.base import Store
from buffr.transport.streams import Signal

__all__ = ["Dialogue", "Dialogues", "Remark"]

_SESSION = b"mcp-session-id"
_LAST_EVENT = b"last-event-id"
_STREAM = b"text/event-stream"
_MOST = 2000
_MOST_IDS = 1024
_PATIENCE_S = 5.0
"""How long an answer waits for what the client sent before it when it was recorded."""


@define(eq=False)
class Dialogue:
    """One session. ``messages`` counts what its client sent, ``answers`` its answers among them.

    ``recorded`` is the id of the recorded session that it replays, if it began
    with a recorded answer. ``ids`` and ``tokens`` map those of the recorded
    client to the live one's, for answers that come later than their request.
    """

    session: bytes = b""
    recorded: bytes | None = None
    messages: int = 0
    answers: int = 0
    ids: dict[bytes, bytes] = field(factory=dict)
    tokens: dict[bytes, bytes] = field(factory=dict)
    over: bool = False
    news: Signal = field(factory=Signal)

    def came(self, said: Sequence[Message]) -> None:
        """The client sent something."""
        self.messages += 1
        self.answers += sum(message.is_answer for message in said)
        self.news.notify()

    def end(self) -> None:
        """Nothing will be waited for any longer."""
        self.over = True
        self.news.notify()

    async def own(self, store: Store, places: Sequence[int]) -> Sequence[int]:
        """Those of these recordings that belong to the recorded session; all if none does."""
        if self.recorded is None or len(places) == 1:
            return places
        entries = await store.entries(places)
        ours = [
            place
            for place, entry in zip(places, entries, strict=True)
            if isinstance(entry, IndexEntry)
            and first_value(entry.request.headers, _SESSION) == self.recorded
        ]
        return ours or places


@define(eq=False)
class Remark:
    """One exchange of a dialogue. ``said`` are the messages in its request.

    ``scope`` is that of the dialogue's playhead. A standing stream is the one
    on which the server says what belongs to no call; its place is among all
    messages of the session, that of other answers among the client's answers
    since they began.
    """

    dialogue: Dialogue
    said: tuple[Message, ...]
    scope: str
    standing: bool
    _dialogues: Dialogues
    _began: int = 0

    def of(self, element: bytes) -> Remark:
        """The same for one message of a batch."""
        return evolve(self, said=messages(element))

    def count(self) -> int:
        """The place in the dialogue that has been reached."""
        if not self.dialogue.session:
            return 0
        return self.dialogue.messages if self.standing else self.dialogue.answers - self._began

    def is_standing(self, head: ResponseHead) -> bool:
        """Whether the answer is a stream that nobody but its client ends."""
        return self.standing and media_type(head.headers) == _STREAM

    def live(self, interaction: HTTPInteraction) -> LiveMessages:
        """What is to be replaced in a recorded answer."""
        dialogue = self.dialogue
        pairs = list(zip(messages(interaction.request.body.data), self.said, strict=False))
        for known, new in (
            (dialogue.ids, {old.id: live.id for old, live in pairs if old.method and old.id}),
            (dialogue.tokens, {old.token: live.token for old, live in pairs if old.token}),
        ):
            known.update(new)
            while len(known) > _MOST_IDS:
                del known[next(iter(known))]
        streamed = media_type(interaction.response.headers) == _STREAM
        return LiveMessages(dict(dialogue.ids), dict(dialogue.tokens), streamed)

    def with_session(self, interaction: HTTPInteraction) -> HTTPInteraction:
        """A recorded answer with the live session's id, or a new one for a session that begins."""
        recorded = first_value(interaction.response.headers, _SESSION)
        if recorded is None:
            return interaction
        session = self.dialogue.session or self._dialogues.begun(self.scope, recorded)
        response = interaction.response
        headers = tuple(
            (name, session if name.lower() == _SESSION else value)
            for name, value in response.headers
        )
        return evolve(interaction, response=evolve(response, headers=headers))

    async def hold(self, after: int | None) -> None:
        """Return once the dialogue has come as far as ``after``; ``None`` is never."""
        dialogue, waits = self.dialogue, [True]
        patience = None
        if not self.standing:
            patience = self._dialogues.reactor.callLater(
                _PATIENCE_S, partial(_give_up, dialogue, waits)
            )
        try:
            while waits[0] and not dialogue.over and (after is None or self.count() < after):
                await dialogue.news.wait()
        finally:
            if patience is not None and patience.active():
                patience.cancel()


def _give_up(dialogue: Dialogue, waits: list[bool]) -> None:
    waits[0] = False
    text = "the client did not answer the server's message, as it did when it was recorded"
    say(LogLevel.warn, "mcp: a recorded answer goes on", err=text)
    dialogue.news.notify()


class Dialogues:
    """The sessions of all routes. The one that was idle longest is forgotten first."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self._known: OrderedDict[Hashable, Dialogue] = OrderedDict()

    def remark(self, request: Request, body: bytes, scope: str) -> Remark:
        """What a request says, and in which dialogue."""
        session = first_value(request.headers, _SESSION) or b""
        dialogue = self._of(scope, session)
        said = messages(body) if request.method == b"POST" else ()
        standing = request.method == b"GET" and first_value(request.headers, _LAST_EVENT) is None
        began = dialogue.answers
        if request.method in (b"POST", b"DELETE"):
            dialogue.came(said)
        if request.method == b"DELETE" and session:
            self._known.pop((scope, session), None)
            dialogue.end()
        heads = f"{scope} {session.decode('latin-1')}" if session else scope
        return Remark(dialogue, said, heads, standing, self, began)

    def _of(self, scope: str, session: bytes) -> Dialogue:
        if not session:
            return Dialogue()
        known = self._known.get((scope, session))
        if known is None:
            known = self._known[scope, session] = Dialogue(session)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)[1].end()
        self._known.move_to_end((scope, session))
        return known

    def begun(self, scope: str, recorded: bytes) -> bytes:
        """The new id of a session that replays the recorded one."""
        session = uuid.uuid4().hex.encode()
        self._of(scope, session).recorded = recorded
        return session

    def stop(self) -> None:
        """End what is held, so that buffr can stop."""
        for dialogue in self._known.values():
            dialogue.end()
