"""Compares the messages of calls in turns, each like a body of its own."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from buffr.formats.envelopes import split
from buffr.interaction import Body, RecordedRequest
from buffr.matching.body import IN_MEMORY
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import Difference, differences
from buffr.message import Request
from buffr.origin import Origin
from buffr.redaction.rules import RedactionRules

__all__ = ["CallRules", "beginning", "beginnings"]


@frozen(eq=False)
class CallRules:
    """How the messages of a live request are compared with recorded ones.

    All rules for bodies hold for each message, whose envelope is part of it.
    Messages over ``IN_MEMORY`` bytes are compared byte for byte.
    """

    matcher: Matcher
    request: Request
    origin: Origin | None

    def same(self, recorded: RecordedRequest, old: bytes, new: bytes) -> bool:
        """Whether a message equals a recorded one."""
        if old == new:
            return True
        if max(len(old), len(new)) > IN_MEMORY:
            return False
        theirs = self._recorded(recorded, old).parts[-1]
        return any(key.parts[-1] == theirs for key in self._live(new))

    def differences(
        self, recorded: RecordedRequest, old: bytes, new: bytes, redaction: RedactionRules
    ) -> tuple[Difference, ...]:
        """Where a message differs from a recorded one, fit to be shown; empty for long ones."""
        if max(len(old), len(new)) > IN_MEMORY:
            return ()
        ours, theirs = self._live(new)[0].parts[-1], self._recorded(recorded, old).parts[-1]
        return differences(MatchKey((ours,)), MatchKey((theirs,)), redaction)

    def keys(self, messages: Sequence[bytes]) -> tuple[MatchKey, ...]:
        """The keys of a request that begins with these messages, as ``beginning`` files them."""
        identity = self.matcher.live(self.request, b"".join(messages), self.origin)
        return (*identity.keys, *identity.headerless)

    def _live(self, message: bytes) -> Sequence[MatchKey]:
        # The body is the last part of every key.
        return self.matcher.live(self.request, message, self.origin).keys

    def _recorded(self, recorded: RecordedRequest, message: bytes) -> MatchKey:
        return self.matcher.recorded(evolve(recorded, body=Body.of(message)))


def beginning(request: RecordedRequest, asked: bytes, count: int) -> RecordedRequest:
    """A recorded call's request as if it had only its first messages; ``asked`` is its body."""
    first = [message for message, _ in zip(split(asked), range(count), strict=False)]
    return evolve(request, body=Body.of(b"".join(first)))


def beginnings(
    request: RecordedRequest, asked: bytes, begins_after: int | None
) -> tuple[RecordedRequest, ...]:
    """What a recorded call is filed under: its first message, and no message if it need not wait.

    ``asked`` is its body, ``begins_after`` the first of its ``turns``.
    """
    found = [beginning(request, asked, 0)] if begins_after == 0 else []
    first = beginning(request, asked, 1)
    return (*found, first) if first.body.size_bytes else tuple(found)
