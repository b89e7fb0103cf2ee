"""``buffr cassette show``: one interaction, decoded."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

import msgspec

from buffr.commands.cassette.arguments import (
    declare_descriptors,
    numbers,
    snapshot_of,
    types_of,
)
from buffr.commands.cassette.bodies import pretty
from buffr.commands.parser import Parser
from buffr.commands.terminal import Paint, paint_for, plain
from buffr.errors import CassetteError
from buffr.formats.protobuf.bodies import Messages, MessageTypes
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    Interaction,
    WebSocketInteraction,
)
from buffr.message import Headers, media_type
from buffr.recording.readable import content, messages_in, uncoded
from buffr.stores.cassette.format import RECORDED_KINDS
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["declare", "run", "shown"]

_ARROWS = {Direction.CLIENT: "-->", Direction.SERVER: "<--"}
_INDENT = "    "


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Shows interaction N, counted from 0: the heads of request and answer, bodies with their "
        "content codings undone, JSON and event streams laid out, protobuf's messages by their "
        "fields; the frames of a WebSocket session.",
        "FILE N",
        examples=(
            ("buffr cassette show api.json 3", "show the fourth interaction"),
            ("buffr cassette show api.json 3 --body > answer.json", "extract its answer"),
        ),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.argument("number", metavar="N", help="the number of the interaction")
    parser.flag(
        "--body",
        action="store_true",
        help="print only the body of the answer, all of it, with content codings undone",
    )
    parser.flag(
        "--raw", action="store_true", help="print the interaction's JSON as the file has it"
    )

    declare_descriptors(parser)


def run(given: argparse.Namespace) -> int:
    """Show an interaction; returns the exit code."""
    path, text = given.file, given.number
    snapshot = snapshot_of(path)
    chosen = numbers([text], snapshot, given.parser.error)
    if len(chosen) != 1:
        raise CassetteError(f"{path}: {text!r} are {len(chosen)} interactions; show takes one")
    (number,) = chosen
    if given.raw:
        sys.stdout.write(snapshot.element(number).decode("utf-8", "backslashreplace") + "\n")
    elif given.body:
        _write_body(snapshot, number)
    else:
        paint, types = paint_for(sys.stdout, os.environ), types_of(path, given.descriptors)
        for part in _parts(snapshot, number, paint, types):
            sys.stdout.write(part)
    return 0


def _write_body(snapshot: Snapshot, number: int) -> None:
    interaction = snapshot.interaction(number)
    if isinstance(interaction, WebSocketInteraction):
        raise CassetteError(f"{snapshot.path}: interaction {number} is a session: it has no body")
    data, _ = uncoded(content(interaction.body), interaction.response.headers)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _parts(snapshot: Snapshot, number: int, paint: Paint, types: MessageTypes) -> Iterator[str]:
    kind = snapshot.kind(number)
    if kind not in RECORDED_KINDS:
        yield f"an interaction of type {plain(kind)}, which buffr passes over\n\n"
        element = msgspec.json.format(snapshot.element(number), indent=2)
        yield pretty(element, "application/json", paint)
        return
    yield from shown(snapshot.interaction(number), paint, types)


def shown(interaction: Interaction, paint: Paint, types: MessageTypes) -> Iterator[str]:
    """An interaction as text, in pieces. ``types`` are those of protobuf's messages."""
    if interaction.recorded_at is not None:
        by = f" by {plain(interaction.recorded_by)}" if interaction.recorded_by else ""
        yield f"recorded at {plain(interaction.recorded_at)}{by}\n\n"
    request, response = interaction.request, interaction.response
    where = ""
    if request.host is not None:
        host = f"[{request.host}]" if ":" in request.host else request.host
        port = "" if request.port is None else f":{request.port}"
        where = f"{request.scheme or 'https'}://{host}{port}"
    target = f"{where}{request.target.decode('utf-8', 'backslashreplace')}"
    yield paint("1", plain(f"{request.method.decode()} {target}")) + "\n"
    asked = types.of_request(request.target, media_type(request.headers))
    yield from _message(request.headers, request.body, paint, asked)
    reason = response.reason.decode("latin-1")
    yield "\n" + paint("1", plain(f"{response.status} {reason}")) + "\n"
    if isinstance(interaction, WebSocketInteraction):
        yield _fields(response.headers, paint)
        yield "\n"
        for frame in interaction.frames:
            yield from _frame(frame, paint)
        end = interaction.end
        if end is not None:
            word = "truncated" if end.truncated else "ended"
            yield paint("31", plain(f"{word}: {end.reason}")) + "\n"
        return
    answered = types.of_answer(request.target, media_type(response.headers))
    yield from _message(response.headers, interaction.body, paint, answered)
    if interaction.trailers:
        yield "\n" + _fields(interaction.trailers, paint)
    if interaction.truncated is not None:
        yield "\n" + paint("31", plain(f"truncated: {interaction.truncated}")) + "\n"
    elif interaction.uncertain is not None:
        yield "\n" + paint("31", plain(f"ended: {interaction.uncertain}")) + "\n"


def _fields(headers: Headers, paint: Paint) -> str:
    return "".join(
        f"{paint('36', plain(name.decode('latin-1')))}: {plain(_value(value))}\n"
        for name, value in headers
    )


def _value(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _message(
    headers: Headers, body: Body, paint: Paint, messages: Messages | None
) -> Iterator[str]:
    yield _fields(headers, paint)
    if not body.size_bytes:
        return
    data, codings = uncoded(content(body), headers)
    yield "\n"
    if codings:
        yield f"({plain(codings)} undone)\n"
    found = messages_in(data, messages)
    if found is not None:
        document, what = found
        yield f"({plain(what)})\n{pretty(document, 'application/json', paint)}"
        return
    yield pretty(data, media_type(headers).decode("latin-1"), paint)


def _frame(frame: Frame, paint: Paint) -> Iterator[str]:
    arrow = _ARROWS[frame.direction]
    code = "" if frame.close_code is None else f" {frame.close_code} {frame.reason}".rstrip()
    line = f"{arrow} {frame.kind}{code}"
    colour = "33" if frame.direction is Direction.CLIENT else "34"
    yield f"{paint(colour, plain(line))}  +{frame.delay_ms}ms\n"
    media = "application/octet-stream" if frame.kind is FrameKind.BINARY else "text/plain"
    for text in pretty(content(frame.data), media, paint).splitlines():
        yield f"{_INDENT}{text}\n"
