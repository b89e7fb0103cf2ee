"""What becomes of a request: the one place that knows the modes.

Mode cache has its own rules in ``policy.cache``; what is never cached, such
as a WebSocket session, is decided here.
"""

from __future__ import annotations

from typing import assert_never

from attrs import frozen

from buffr.policy.mode import Mode

__all__ = ["Decision", "Fetch", "Refuse", "Replay", "decide", "may_substitute", "needs_key"]

_SHAREABLE = frozenset((b"GET", b"HEAD", b"POST"))


@frozen
class Replay:
    """Answer with the recording at this place of the store."""

    place: int


@frozen
class Fetch:
    """Ask the upstream. ``record`` keeps the answer, ``share`` lets equal requests wait for it."""

    record: bool
    share: bool


@frozen
class Refuse:
    """Answer that no recording matches."""


Decision = Replay | Fetch | Refuse

_REFUSE = Refuse()
_FETCH = {
    (record, share): Fetch(record=record, share=share)
    for record in (False, True)
    for share in (False, True)
}


def needs_key(mode: Mode, *, share: bool) -> bool:
    """Whether the request has to be identified, and so read whole, before anything is done."""
    return mode in (Mode.AUTO, Mode.REPLAY) or (mode is Mode.RECORD and share)


def may_substitute(mode: Mode) -> bool:
    """Whether the only recording of a request may answer another variant of it.

    Where the upstream can be asked, it is.
    """
    return mode is Mode.REPLAY


def decide(mode: Mode, method: bytes, place: int | None, *, share: bool) -> Decision:
    """What to do with a request; ``place`` is the recording that is next for it, if any."""
    match mode:
        case Mode.REPLAY:
            return _REFUSE if place is None else Replay(place)
        case Mode.AUTO:
            if place is not None:
                return Replay(place)
            return _FETCH[True, share and method in _SHAREABLE]
        case Mode.RECORD:
            return _FETCH[True, share and method in _SHAREABLE]
        case Mode.PASSTHROUGH | Mode.CACHE:
            # What a cache keeps, and for how long, is the matter of policy.cache.
            return _FETCH[False, False]
    assert_never(mode)
