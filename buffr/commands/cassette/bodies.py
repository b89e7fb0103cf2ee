"""Recorded bodies, as a terminal shows them.

JSON is indented, event streams are laid out by event, and bytes are counted.
"""

from __future__ import annotations

import re

import msgspec

from buffr.commands.terminal import Paint, plain
from buffr.formats.json_text import STRING

__all__ = ["pretty", "sized"]

_MOST_CHARACTERS = 1 << 20
_LONGEST_LINE = 2000
_TOKEN = re.compile(
    rf"(?P<name>{STRING})(?=\s*:)|(?P<string>{STRING})"
    r"|(?P<number>-?\d[\d.eE+-]*+)|(?P<word>true|false|null)"
)
_COLOURS = {"name": "36", "string": "32", "number": "33", "word": "35"}
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_NEXT = 1024


def pretty(data: bytes, media_type: str, paint: Paint) -> str:
    """Text with a line end at its end; empty for an empty body.

    Nothing in it steers the terminal. What no one could read is counted.
    """
    if not data:
        return ""
    text = _text(data)
    if text is None:
        return f"({sized(len(data))} of {plain(media_type or 'unknown type')})\n"
    if media_type == "text/event-stream":
        lines = [_event_line(line, paint) for line in text[:_MOST_CHARACTERS].splitlines()]
    else:
        json = _indented(text)
        shown = text if json is None else json
        coloured = json is not None or "json" in media_type
        lines = [
            _coloured(line, paint) if coloured else plain(_cut(line))
            for line in shown[:_MOST_CHARACTERS].splitlines()
        ]
    if len(text) > _MOST_CHARACTERS:
        lines.append(f"... ({sized(len(data))} in all; --body prints it whole)")
    return "".join(f"{line}\n" for line in lines)


def _text(data: bytes) -> str | None:
    if _BINARY.search(data):
        return None
    try:
        return data.decode("utf-8").expandtabs(4)
    except UnicodeDecodeError:
        return None


def _indented(text: str) -> str | None:
    """JSON reformatted, keeping digits and duplicate names; ``None`` if it is not JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        msgspec.json.decode(text)
        return msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return None


def _event_line(line: str, paint: Paint) -> str:
    """A line of an event stream; JSON in ``data`` is indented below it."""
    name, colon, value = line.partition(":")
    if not colon:
        return plain(_cut(line))
    json = _indented(value) if name == "data" else None
    if json is None:
        return f"{paint('1', plain(_cut(name)))}:{plain(_cut(value))}"
    indented = [_coloured(each, paint) for each in json.splitlines()]
    return f"{paint('1', 'data')}: " + "\n      ".join(indented)


def _cut(line: str) -> str:
    """A line without the middle of long unreadable text, such as audio in base64."""
    if len(line) <= _LONGEST_LINE:
        return line
    half = _LONGEST_LINE // 2
    return f"{line[:half]} ... {len(line) - 2 * half} more ... {line[-half:]}"


def _coloured(line: str, paint: Paint) -> str:
    line = _cut(line)
    if not paint.on:
        return plain(line)
    parts, at = [], 0
    for token in _TOKEN.finditer(line):
        parts.append(plain(line[at : token.start()]))
        parts.append(paint(_COLOURS[str(token.lastgroup)], plain(token[0])))
        at = token.end()
    return "".join(parts) + plain(line[at:])


def sized(size_bytes: int) -> str:
    """``512 B``, ``1.5 KiB``."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < _NEXT or unit == _UNITS[-1]:
            break
        size /= _NEXT
    return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"
