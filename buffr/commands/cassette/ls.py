"""``buffr cassette ls``: lists interactions, one per line."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import asdict, evolve, frozen

from buffr.commands.cassette.arguments import declare_descriptors, snapshot_of, types_of
from buffr.commands.cassette.bodies import sized
from buffr.commands.parser import Parser
from buffr.commands.progress import followed
from buffr.commands.terminal import Paint, paint_for, plain
from buffr.errors import CassetteError
from buffr.exchanges.ages import recorded_s
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import (
    Body,
    Direction,
    FrameKind,
    Interaction,
    WebSocketInteraction,
)
from buffr.message import media_type
from buffr.recording.readable import content, messages_in, uncoded
from buffr.redaction.for_log import url_for_log
from buffr.redaction.request_hint import LARGEST_READ, RequestHint, hint_of
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["Summary", "age", "declare", "row_at", "row_of", "rows", "run"]

_RULES = RedactionRules()
_encode = msgspec.json.Encoder().encode
_NO_TIME = "-"
_TIME_WIDTH = len("2026-11-21T22:02:42")
_SIZE_WIDTH = 10
_AGE_WIDTH = 5
_UNITS = (("y", 31_557_600), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Lists the interactions of a cassette in recorded order: number, time of the recording, "
        "its age, method, status, size of the answer, URL, and what tells requests to one URL "
        "apart: operation, model, stream, a hint of the body. Credentials are not shown.",
        "FILE",
        examples=(("buffr cassette ls api.openai.com.json", "one line for each interaction"),),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.flag("--json", action="store_true", help="print a JSON list with an object for each")
    declare_descriptors(parser)


@frozen
class Summary:
    """An interaction in short. ``fault`` says why it cannot be read, ``truncated`` why it ends,
    ``uncertain`` why it may have ended too early.

    Sizes are those of bodies as stored, without their codings undone;
    ``frames`` is the count of a WebSocket session's. ``operation``, ``model``,
    ``stream`` and ``about`` tell requests to one URL apart.
    """

    index: int
    type: str
    method: str | None = None
    url: str | None = None
    status: int | None = None
    content_type: str | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    frames: int | None = None
    recorded_at: str | None = None
    recorded_by: str | None = None
    took_ms: int | None = None
    truncated: str | None = None
    uncertain: str | None = None
    fault: str | None = None
    operation: str | None = None
    model: str | None = None
    stream: bool | None = None
    about: str | None = None

    @property
    def hint(self) -> str:
        """A hint that distinguishes it from others with the same URL."""
        return str(RequestHint(self.operation, self.model, bool(self.stream), self.about))


def rows(snapshot: Snapshot, types: MessageTypes | None = None) -> Iterator[Summary]:
    """A row for each element, whatever its type.

    With the ``types`` of protobuf's messages there are hints, too, which
    distinguish requests to one URL.
    """
    return (row_at(snapshot, number, types) for number in range(len(snapshot)))


def row_at(snapshot: Snapshot, number: int, types: MessageTypes | None = None) -> Summary:
    """The row of an element, which may be one that cannot be read."""
    try:
        interaction = snapshot.interaction(number)
    except CassetteError as error:
        return Summary(number, snapshot.kind(number), fault=error.message)
    row = row_of(number, interaction)
    return row if types is None else evolve(row, **_hint(interaction, types))


def row_of(number: int, interaction: Interaction) -> Summary:
    """An interaction's row."""
    request, response = interaction.request, interaction.response
    method, url = request.method.decode(), url_for_log(request, _RULES)
    if isinstance(interaction, WebSocketInteraction):
        end = interaction.end
        return Summary(
            number,
            "websocket",
            method,
            url,
            response.status,
            frames=len(interaction.frames),
            recorded_at=interaction.recorded_at,
            recorded_by=interaction.recorded_by,
            truncated=end.reason if end is not None and end.truncated else None,
        )
    return Summary(
        number,
        "http",
        method,
        url,
        response.status,
        media_type(response.headers).decode("latin-1") or None,
        request.body.size_bytes,
        interaction.body.size_bytes,
        recorded_at=interaction.recorded_at,
        took_ms=interaction.took_ms,
        recorded_by=interaction.recorded_by,
        truncated=interaction.truncated,
        uncertain=interaction.uncertain,
    )


def _hint(interaction: Interaction, types: MessageTypes) -> dict[str, Any]:
    """The fields of a row that tell it from others; of a session by its client's first message."""
    request = interaction.request
    body, headers = request.body, request.headers
    if isinstance(interaction, WebSocketInteraction):
        said = (one for one in interaction.frames if one.direction is Direction.CLIENT)
        body = next((one.data for one in said if one.kind is FrameKind.TEXT), Body())
    try:
        data, _ = uncoded(content(body, LARGEST_READ + 1), headers)
    except CassetteError:  # verify says so
        data = b""
    found = messages_in(data, types.of_request(request.target, media_type(headers)))
    data = data if found is None else found[0]
    hint = hint_of(request.target, headers, data, _RULES)
    events = media_type(interaction.response.headers) == b"text/event-stream"
    return {**asdict(hint), "stream": hint.stream or events or None}


def run(given: argparse.Namespace) -> int:
    """List a cassette; returns the exit code."""
    snapshot, types = snapshot_of(given.file), types_of(given.file, given.descriptors)
    if given.json:
        _write_json(_followed(snapshot, types))
        return 0
    paint, now_s = paint_for(sys.stdout, os.environ), time.time()
    width = len(str(max(len(snapshot) - 1, 0)))
    for row in _followed(snapshot, types):
        sys.stdout.write(_line(row, width, paint, now_s) + "\n")
    return 0


def _followed(snapshot: Snapshot, types: MessageTypes) -> Iterator[Summary]:
    """The rows; how far they are is shown only where they are not."""
    found = rows(snapshot, types)
    if sys.stdout.isatty():
        return found
    return followed(found, "interactions", len(snapshot))


def _write_json(found: Iterator[Summary]) -> None:
    before = "["
    for row in found:
        known = {name: value for name, value in asdict(row).items() if value is not None}
        sys.stdout.write(f"{before}\n  {_encode(known).decode()}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def age(recorded_at: str | None, now_s: float) -> str:
    """How old a recording is in its largest unit, such as ``3d`` or ``2y``; empty if unknown."""
    made_s = recorded_s(recorded_at)
    if made_s is None:
        return ""
    seconds = max(0, int(now_s - made_s))
    unit, size = next((each for each in _UNITS if seconds >= each[1]), _UNITS[-1])
    return f"{seconds // size}{unit}"


def _line(row: Summary, width: int, paint: Paint, now_s: float) -> str:
    number = str(row.index).rjust(width)
    if row.fault is not None:
        return f"{number}  {paint('31', plain(row.fault))}"
    when = (row.recorded_at or _NO_TIME)[:_TIME_WIDTH].ljust(_TIME_WIDTH)
    when += age(row.recorded_at, now_s).rjust(_AGE_WIDTH)
    word = "WS" if row.type == "websocket" else plain(row.method or "")
    size = f"frames={row.frames}" if row.frames is not None else sized(row.response_bytes or 0)
    status = paint(_colour(row.status or 0), str(row.status).rjust(3))
    start = f"{number}  {plain(when)}  {word:<6} {status} {size:>{_SIZE_WIDTH}}"
    line = f"{start}  {plain(row.url or '')}"
    if row.hint:
        line += f"  {paint('2', plain(row.hint))}"
    if row.truncated is not None:
        line += f"  {paint('31', plain(f'truncated: {row.truncated}'))}"
    return line


def _colour(status: int) -> str:
    return "32" if status < 300 else "36" if status < 400 else "31"
