"""The entries of a HAR 1.2 file, as far as a scan needs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from buffr.commands.cassette.entry import (
    Entry,
    exchange,
    fields,
    from_base64,
    mapping,
    read_text,
    rest_of,
    to_bytes,
    within_bounds,
)
from buffr.errors import CassetteError
from buffr.message import ResponseHead

__all__ = ["har_entries", "json_document", "lines_of"]

_scan = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


def json_document(path: Path) -> tuple[Any, bytes]:
    """A JSON file and its text. Raises ``CassetteError``."""
    text = read_text(path).removeprefix(b"\xef\xbb\xbf")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise CassetteError(f"{path}: it is not JSON; it may have been cut short") from None
    if not within_bounds(document, len(text)):
        raise CassetteError(f"{path}: it is nested too deeply")
    return document, text


def lines_of(text: bytes, member: str, count: int) -> list[int]:
    """The lines where the elements of a list begin, counted from 1; of the file where unknown."""
    known: list[int] = []
    plain = text.decode("utf-8", "replace")
    found = re.search(rf'"{member}"\s*:\s*\[', plain)
    at, line, counted = (0 if found is None else found.end()), 1, 0
    while found is not None and len(known) < count:
        at = _skip(plain, at)
        line += plain.count("\n", counted, at)
        counted = at
        try:
            _, end = _scan(plain, at)
        except (ValueError, RecursionError):
            break
        known.append(line)
        at = _skip(plain, end) + 1
    return known + [1] * (count - len(known))


def _skip(text: str, at: int) -> int:
    matched = _SPACE.match(text, at)
    return at if matched is None else matched.end()


def har_entries(path: Path) -> Iterator[Entry]:
    """The entries, in order. Raises ``CassetteError``."""
    document, text = json_document(path)
    log = dict(mapping(mapping(document).get("log")))
    entries = log.pop("entries", None)
    if not isinstance(entries, list):
        raise CassetteError(f"{path}: it is not a HAR file: log.entries must be a list")
    yield Entry(None, 1, None, rest_of("log", log))
    lines = lines_of(text, "entries", len(entries))
    for number, (entry, line) in enumerate(zip(entries, lines, strict=True)):
        yield _entry(number, line, dict(mapping(entry)))


def _entry(number: int, line: int, entry: dict[str, Any]) -> Entry:
    request = entry["request"] = dict(mapping(entry.get("request")))
    response = entry["response"] = dict(mapping(entry.get("response")))
    post = request["postData"] = dict(mapping(request.get("postData")))
    content = response["content"] = dict(mapping(response.get("content")))
    asked, answered = fields(request.pop("headers", ())), fields(response.pop("headers", ()))
    question, answer = to_bytes(post.pop("text", b"")), _answer(content)
    status = response.get("status")
    reason = to_bytes(response.pop("statusText", b""))
    head = ResponseHead(status if isinstance(status, int) else 0, reason, answered)
    url = to_bytes(request.pop("url", b""))
    method = to_bytes(request.pop("method", b""))
    if not any(name.lower() == b"content-type" for name, _ in asked) and post.get("mimeType"):
        asked = (*asked, (b"content-type", to_bytes(post["mimeType"])))
    made, texts = exchange(method, url, asked, question, head, answer)
    return Entry(number, line, made, (*texts, *rest_of("entry", entry)))


def _answer(content: dict[str, Any]) -> bytes:
    text = content.pop("text", b"")
    return from_base64(text) if content.get("encoding") == "base64" else to_bytes(text)
