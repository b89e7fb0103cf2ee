"""What every kind of route says of its recordings, declared once."""

from __future__ import annotations

from attrs import frozen

from buffr.config import kinds, quantities
from buffr.config.matching import MatchSettings
from buffr.config.playback import STATUS_SET
from buffr.config.schema import setting
from buffr.config.shapes import Section
from buffr.config.statuses import StatusSet
from buffr.config.websocket import WebSocketSettings

__all__ = ["RecordingSettings"]


@frozen(kw_only=True)
class RecordingSettings:
    """What is recorded, and when a recording answers.

    ``share`` and ``record_statuses`` are ``None`` where the mode decides.
    """

    share: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether identical requests under way share one call to the upstream.",
        default_text="by mode",
    )
    record_statuses: StatusSet | None = setting(
        STATUS_SET,
        None,
        "The statuses that are recorded; answers with others only pass through.",
        default_text="by mode",
    )
    re_record_after_s: float | None = setting(
        quantities.duration(),
        None,
        "Recordings older than this are recorded anew in auto; replay only warns of them.",
        key="re_record_after",
    )
    match: MatchSettings = setting(
        Section(MatchSettings), MatchSettings(), "What counts in matching."
    )
    websocket: WebSocketSettings = setting(
        Section(WebSocketSettings), WebSocketSettings(), "How WebSocket sessions are replayed."
    )
