"""WebSocket sessions, as settings say it."""

from __future__ import annotations

from typing import Literal, get_args

from attrs import frozen

from buffr.config import kinds
from buffr.config.schema import setting

__all__ = ["FrameMatch", "WebSocketSettings"]

FrameMatch = Literal["strict", "json", "any", "type"]


@frozen(kw_only=True)
class WebSocketSettings:
    """How a client's messages are compared with the recorded ones in a replay."""

    match: FrameMatch = setting(
        kinds.one_of(get_args(FrameMatch)),
        "json",
        "How a client's messages are compared: JSON by what it means, strictly by bytes, "
        "by their type alone, or not at all.",
    )
    type_field: str = setting(
        kinds.NAME, "type", "The JSON member that is a message's type, for `match: type`."
    )
