"""A WebSocket session as a cassette's JSON.

``frames`` contains what the Go program supports: messages and close frames.
Pings and pongs are in ``control``, since the Go program ends a session at an
unknown opcode.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import ResponseHead
from buffr.stores.cassette.checks import NO_CODE, never_sent
from buffr.stores.cassette.fields import charset, unfold
from buffr.stores.cassette.reason_phrases import reason_phrase
from buffr.stores.cassette.records import (
    ControlRecord,
    FrameRecord,
    SessionRecord,
    SwitchRecord,
)
from buffr.stores.cassette.requests import body_file, encode_request, upgrade_of
from buffr.stores.cassette.text import (
    EXCHANGE,
    FIELD,
    MESSAGE,
    body_members,
    field_members,
    list_text,
    object_text,
    text_member,
    to_json,
)

__all__ = ["encode_session", "session_of"]

_NO_STATUS = 1005

_DIRECTIONS = {direction.value: direction for direction in Direction}
_KINDS = {kind.value: kind for kind in FrameKind}
_NOTHING = Body()


def session_of(record: SessionRecord, bodies: Path) -> WebSocketInteraction:
    """Raises ``ValueError`` for text that cannot be converted to bytes."""
    frames = tuple(_frames(record.frames or [], record.control, bodies))
    end = _broken_off(record.frames or [])
    if record.end is not None:
        by = None if record.end.by is None else _DIRECTIONS[record.end.by]
        end = SessionEnd(record.end.reason, by, record.end.truncated)
    return WebSocketInteraction(
        upgrade_of(record.request),
        _answer(record.response or SwitchRecord()),
        frames,
        end,
        record.recorded_at,
        note=record.note,
        recorded_by=record.recorded_by,
    )


def _answer(record: SwitchRecord) -> ResponseHead:
    encoding, reason = record.header_encoding, record.reason
    return ResponseHead(
        record.status,
        reason_phrase(record.status) if reason is None else reason.encode(encoding),
        unfold(record.headers, record.raw_headers, encoding),
    )


def _frames(
    records: list[FrameRecord], controls: list[ControlRecord], bodies: Path
) -> Iterator[Frame]:
    """All frames in order; ``delay_ms`` of control frames counts from the frame before them."""
    waiting = sorted(controls, key=lambda control: control.after)
    following = 0
    for place, record in enumerate(records):
        spent_ms = 0
        while following < len(waiting) and waiting[following].after <= place:
            control, spent_ms = _control(waiting[following], spent_ms)
            following += 1
            yield control
        if not never_sent(record.close_code):
            yield _frame(record, spent_ms, bodies)
    spent_ms = 0
    for control_record in waiting[following:]:
        control, spent_ms = _control(control_record, spent_ms)
        yield control


def _control(record: ControlRecord, spent_ms: int) -> tuple[Frame, int]:
    data = record.data_b64 or record.data.encode()
    delay_ms = max(0, record.delay_ms - spent_ms)
    frame = Frame(
        _DIRECTIONS[record.direction],
        _KINDS[record.opcode],
        Body.of(data),
        delay_ms,
    )
    return frame, spent_ms + delay_ms


def _frame(record: FrameRecord, spent_ms: int, bodies: Path) -> Frame:
    direction, kind = _DIRECTIONS[record.direction], _KINDS[record.opcode]
    delay_ms = max(0, record.delay_ms - spent_ms)
    if kind is FrameKind.CLOSE:
        code = record.close_code
        close_code = None if code in NO_CODE else code
        return Frame(direction, kind, _NOTHING, delay_ms, close_code, record.reason)
    if record.data_file:
        data = body_file("data_file", record.data_file, record.data_size, bodies)
    else:
        data = Body.of(record.data_b64 or record.data.encode())
    fragments = tuple(record.fragments)
    if sum(fragments) != data.size_bytes:
        fragments = ()  # a message that was edited by hand is sent in one frame
    return Frame(direction, kind, data, delay_ms, None, "", fragments, compressed=record.compressed)


def _broken_off(records: list[FrameRecord]) -> SessionEnd | None:
    """How a session of the Go program ended, if no close frame came first."""
    for record in records:
        if record.opcode == "close":
            if not never_sent(record.close_code):
                return None
            return SessionEnd("the connection broke off", _DIRECTIONS[record.direction])
    return None


def encode_session(session: WebSocketInteraction) -> list[bytes]:
    """The text of a session. A payload in a file is referenced by the file's name."""
    members = [[b'"request": ', *encode_request(session.request, upgrade=True)]]
    if session.response.headers:
        members.append([b'"response": ', *_encode_answer(session.response)])
    frames, controls = _encode_frames(session.frames)
    members.append([b'"frames": ', list_text(frames, MESSAGE) if frames else b"[]"])
    if controls:
        members.append([b'"control": ', list_text(controls, MESSAGE)])
    if session.end is not None:
        members.append([b'"end": ', _encode_end(session.end)])
    if session.recorded_at is not None:
        members.append([b'"recorded_at": ', to_json(session.recorded_at)])
    if session.note:
        members.append([b'"note": ', to_json(session.note)])
    if session.recorded_by is not None:
        members.append([b'"recorded_by": ', to_json(session.recorded_by)])
    return object_text(members, EXCHANGE)


def _encode_answer(head: ResponseHead) -> list[bytes]:
    encoding = charset(head.headers, head.reason)
    members = [[b'"status": %d' % head.status]]
    if head.reason != reason_phrase(head.status):
        members.append([b'"reason": ', to_json(head.reason.decode(encoding))])
    members += field_members(head.headers, encoding)
    return object_text(members, MESSAGE)


def _encode_end(end: SessionEnd) -> bytes:
    members = [b'"reason": ' + to_json(end.reason)]
    if end.by is not None:
        members.append(b'"by": "%b"' % end.by.encode())
    if end.truncated:
        members.append(b'"truncated": true')
    return b"{" + b", ".join(members) + b"}"


def _encode_frames(frames: tuple[Frame, ...]) -> tuple[list[bytes], list[bytes]]:
    """The texts of ``frames`` and of ``control``."""
    texts: list[bytes] = []
    controls: list[bytes] = []
    since_ms = 0
    for frame in frames:
        since_ms += frame.delay_ms
        if frame.kind in (FrameKind.PING, FrameKind.PONG):
            head = [[b'"after": %d' % len(texts)]]
            controls.append(_encode_frame(frame, since_ms, head))
        else:
            texts.append(_encode_frame(frame, since_ms, []))
            since_ms = 0
    return texts, controls


def _encode_frame(frame: Frame, delay_ms: int, members: list[list[bytes]]) -> bytes:
    members += [
        [b'"direction": "%b"' % frame.direction.encode()],
        [b'"opcode": "%b"' % frame.kind.encode()],
    ]
    if frame.data.file is not None:
        members += body_members(b"data", frame.data)
    elif frame.data.data:
        members.append(text_member(b"data", frame.data.data))
    members.append([b'"delay_ms": %d' % delay_ms])
    if frame.kind is FrameKind.CLOSE:
        # The Go program would send the code 0 for none.
        members.append([b'"close_code": %d' % (frame.close_code or _NO_STATUS)])
        if frame.reason:
            members.append([b'"reason": ', to_json(frame.reason)])
    if frame.fragments:
        members.append([b'"fragments": ', to_json(frame.fragments)])
    if frame.compressed:
        members.append([b'"compressed": true'])
    return b"".join(object_text(members, FIELD))
