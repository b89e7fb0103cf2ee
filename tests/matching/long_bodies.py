"""Long bodies as tests read them: at once, cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence

from buffr.interaction import RecordedRequest
from buffr.matching.body import IN_MEMORY, LongBody
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.pieces import go_on
from buffr.message import Request


def cut(body: bytes, size_bytes: int = 70_000) -> list[bytes]:
    return [body[at : at + size_bytes] for at in range(0, len(body), size_bytes)]


def read(matcher: Matcher, request: Request, body: bytes) -> LongBody:
    return matcher.long_body(request)(lambda: cut(body), go_on)


def live_keys(matcher: Matcher, request: Request, body: bytes) -> Sequence[MatchKey]:
    """The keys of a request whose body may be long."""
    long = len(body) > IN_MEMORY or matcher.takes_long(request, body)
    return matcher.live(request, read(matcher, request, body) if long else body).keys


def recorded_key(matcher: Matcher, request: RecordedRequest) -> MatchKey:
    """The key of a recording, in memory, whose body was read if it is long."""
    key, body = matcher.recorded(request), request.body.data
    if len(body) <= IN_MEMORY:
        return key
    values = matcher.recorded_long_body(request)(lambda: cut(body), go_on)
    return MatchKey((*key.parts[:-1], ("body", values.meant)))
