"""The files that ``buffr cassette scan`` reads: several kinds, recognised by their content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from buffr.commands.cassette.cache_entries import cache_entries
from buffr.commands.cassette.entry import Entry
from buffr.commands.cassette.har_entries import har_entries
from buffr.commands.cassette.vcr_entries import vcr_entries_json, vcr_entries_yaml
from buffr.commands.terminal import complain
from buffr.errors import CassetteError
from buffr.stores.cassette.snapshot import Snapshot, file_errors, read_snapshot
from buffr.stores.sqlite.schema import APPLICATION_ID

__all__ = ["Kind", "entries", "kind_of_file"]

_BEGINNING_BYTES = 65536
_SQLITE = b"SQLite format 3\0"
_APPLICATION_ID = slice(68, 72)

_HAR = re.compile(rb'\A[\s\xef\xbb\xbf]*\{\s*"log"\s*:\s*\{')
_INTERACTIONS = re.compile(rb'"(?:http_)?interactions"\s*:\s*(?:\[|null)')
_BUFFRS = re.compile(rb'"(?:http|websocket)"\s*:\s*\{|"type"\s*:\s*"')
_FOREIGN = re.compile(rb'"(?:uri|url)"\s*:\s*"|"http_interactions"')
_YAML = re.compile(rb"^(?:http_)?interactions:(?=[ \r\n])", re.MULTILINE)


class Kind(Enum):
    """The kind of a file."""

    CASSETTE = "cassette"
    HAR = "HAR file"
    VCR_JSON = "VCR.py file (JSON)"
    VCR_YAML = "VCR.py file (YAML)"
    CACHE = "cache"


def kind_of_file(path: Path) -> Kind | None:
    """A file's kind, by its first 64 KiB; ``None`` for anything else. Raises ``OSError``."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING_BYTES)
    if start.startswith(_SQLITE):
        ours = start[_APPLICATION_ID] == APPLICATION_ID.to_bytes(4, "big")
        return Kind.CACHE if ours else None
    if _HAR.match(start):
        return Kind.HAR
    found = _INTERACTIONS.search(start)
    if found is not None and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        foreign = _FOREIGN.search(start) and not _BUFFRS.search(start, found.end())
        return Kind.VCR_JSON if foreign else Kind.CASSETTE
    return Kind.VCR_YAML if _YAML.search(start) else None


def entries(path: Path) -> Iterator[Entry]:
    """The recordings in a file, in order.

    Raises ``CassetteError`` that names the file, for a torn one after all that is whole.
    """
    with file_errors(path):
        kind = kind_of_file(path)
    match kind:
        case Kind.HAR:
            return har_entries(path)
        case Kind.VCR_JSON:
            return vcr_entries_json(path)
        case Kind.VCR_YAML:
            return vcr_entries_yaml(path)
        case Kind.CACHE:
            return cache_entries(path)
    # For any other file, the error explains why it is not a cassette.
    return _cassette_entries(read_snapshot(path, complain))


def _cassette_entries(snapshot: Snapshot) -> Iterator[Entry]:
    layout = snapshot.layout
    if layout.others:
        yield Entry(None, 1, None, (("head", b"{%b}" % b",".join(layout.others)),))
    line, at = 1, 0
    for number in range(len(snapshot)):
        element = snapshot.element(number)
        start = layout.spans.end_of(number + 1)[0] - len(element)
        line += layout.piece(at, start).count(b"\n")
        at = start
        try:
            yield Entry(number, line, snapshot.interaction(number))
        except CassetteError:  # of another type, or broken
            yield Entry(number, line, None, (("element", element),))
    if snapshot.is_torn:
        yield Entry(len(snapshot), layout.line(layout.end), None, (("torn end", layout.rest),))
        raise snapshot.torn_end
