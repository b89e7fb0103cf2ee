"""``buffr cassette diff``: compares two cassettes by match key."""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec
from attrs import asdict, frozen

from buffr.commands.cassette.arguments import declare_descriptors, snapshot_of, types_of
from buffr.commands.cassette.ls import Summary, row_at, row_of
from buffr.commands.parser import Parser
from buffr.commands.terminal import Paint, complain, paint_for, plain
from buffr.errors import CassetteError
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Interaction, WebSocketInteraction
from buffr.matching.changes import changes
from buffr.matching.key import KeyPart, MatchKey
from buffr.matching.matcher import Matcher, MatchRules
from buffr.matching.near_miss import Difference, shown
from buffr.message import media_type
from buffr.recording.readable import content, messages_in, uncoded
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.descriptor_file import DescriptorFile
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["Changed", "compare", "declare", "run"]

_RULES = RedactionRules()
_VOLATILE = frozenset((b"date",))
_MOST_SHOWN = 20


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Compares two cassettes. Interactions belong together if their requests match, as in a "
        "replay without rules; among several with one key, the first belongs to the first. Their "
        "answers are compared: status, headers except Date, body, or frames. Exits with 1 if the "
        "cassettes differ.",
        "OLD NEW",
        examples=(
            (
                "buffr cassette diff api.json.bak api.json --ignore-header x-request-id",
                "compare a new recording with the old one",
            ),
        ),
    )
    parser.argument("old", metavar="OLD", help="a cassette")
    parser.argument("new", metavar="NEW", help="the cassette to compare with it")
    parser.flag("--json", action="store_true", help="print a JSON object")
    parser.flag(
        "--ignore-header",
        metavar="NAMES",
        help="answer headers that make no difference, separated by commas",
    )
    declare_descriptors(parser)


@frozen
class Changed:
    """Two interactions with one key and other answers. ``old`` and ``new`` are their numbers."""

    old: Summary
    new: Summary
    differences: tuple[Difference, ...]


@frozen
class Comparison:
    """The differences between the old and the new cassette."""

    removed: tuple[Summary, ...]
    added: tuple[Summary, ...]
    changed: tuple[Changed, ...]
    same: int

    @property
    def equal(self) -> bool:
        return not (self.removed or self.added or self.changed)


def run(given: argparse.Namespace) -> int:
    """Compare two cassettes; returns the exit code."""
    old, new = snapshot_of(given.old), snapshot_of(given.new)
    names = (given.ignore_header or "").lower().encode().split(b",")
    types = types_of(given.new, given.descriptors)
    DescriptorFile.beside(old.path, types, complain)
    compared = compare(old, new, _VOLATILE.union(name.strip() for name in names), types)
    if given.json:
        encoded = msgspec.json.encode(asdict(compared))
        sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    else:
        for line in _lines(compared, paint_for(sys.stdout, os.environ)):
            sys.stdout.write(line + "\n")
    return 0 if compared.equal else 1


def compare(
    old: Snapshot, new: Snapshot, ignored: frozenset[bytes], types: MessageTypes
) -> Comparison:
    """Compare by match key; header fields with the ``ignored`` lower-case names do not count.

    ``types`` are those of protobuf's messages.

    Raises ``CassetteError`` for an interaction that cannot be read.
    """
    matcher = Matcher(MatchRules(), with_origin=True, types=types)
    before, after = _by_key(old, matcher), _by_key(new, matcher)
    removed: list[int] = []
    added: list[int] = []
    changed: list[Changed] = []
    same = 0
    for key in {**before, **after}:
        ours, theirs = before.get(key, []), after.get(key, [])
        paired = min(len(ours), len(theirs))
        removed += ours[paired:]
        added += theirs[paired:]
        for number, other in zip(ours, theirs, strict=False):
            found = _changed((old, number), (new, other), partial(_parts, ignored, types))
            same += found is None
            changed += [] if found is None else [found]
    return Comparison(
        tuple(row_at(old, number) for number in sorted(removed)),
        tuple(row_at(new, number) for number in sorted(added)),
        tuple(sorted(changed, key=lambda each: each.old.index)),
        same,
    )


def _by_key(snapshot: Snapshot, matcher: Matcher) -> dict[bytes, list[int]]:
    """The numbers of the interactions of each key; what cannot be read by what it holds."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for number in range(len(snapshot)):
        try:
            interaction = snapshot.interaction(number)
            key = snapshot.kind(number).encode() + matcher.recorded(interaction.request).digest
        except CassetteError:
            key = msgspec.json.format(snapshot.element(number), indent=0)
        found[key].append(number)
    return dict(found)


def _changed(
    one: tuple[Snapshot, int],
    another: tuple[Snapshot, int],
    parts: Callable[[Interaction], Iterator[KeyPart]],
) -> Changed | None:
    (old, number), (new, other) = one, another
    if old.element(number) == new.element(other):
        return None
    try:
        before, after = old.interaction(number), new.interaction(other)
    except CassetteError:  # they have one key, so they hold the same
        return None
    keys = [MatchKey(tuple(parts(each))) for each in (before, after)]
    found = changes(keys[1], keys[0])
    if not found:
        return None
    differences = tuple(shown(change, _RULES) for change in found[:_MOST_SHOWN])
    return Changed(row_of(number, before), row_of(other, after), differences)


def _parts(
    ignored: frozenset[bytes], types: MessageTypes, interaction: Interaction
) -> Iterator[KeyPart]:
    """The parts of an answer that are compared."""
    response = interaction.response
    yield "status", str(response.status).encode()
    yield from _fields(response.headers, "header", ignored)
    if isinstance(interaction, WebSocketInteraction):
        for at, frame in enumerate(interaction.frames):
            close = b"" if frame.close_code is None else b" %d" % frame.close_code
            head = f"{frame.direction} {frame.kind}".encode() + close
            yield f"frame {at}", head + b": " + frame.reason.encode() + content(frame.data)
        if interaction.end is not None:
            yield "end", interaction.end.reason.encode()
        return
    data, _ = uncoded(content(interaction.body), response.headers)
    messages = types.of_answer(interaction.request.target, media_type(response.headers))
    found = messages_in(data, messages)
    yield "body", data if found is None else found[0]
    yield from _fields(interaction.trailers, "trailer", ignored)
    if interaction.truncated is not None:
        yield "end", interaction.truncated.encode()


def _fields(
    headers: Iterable[tuple[bytes, bytes]], word: str, ignored: frozenset[bytes]
) -> Iterator[KeyPart]:
    values: dict[bytes, list[bytes]] = defaultdict(list)
    for name, value in headers:
        if name.lower() not in ignored:
            values[name.lower()].append(value)
    for name in sorted(values):
        yield f"{word} {name.decode('latin-1')}", b", ".join(values[name])


def _lines(compared: Comparison, paint: Paint) -> Iterator[str]:
    for row in compared.removed:
        yield paint("31", plain(f"- {row.index}  {_named(row)}"))
    for row in compared.added:
        yield paint("32", plain(f"+ {row.index}  {_named(row)}"))
    for each in compared.changed:
        number = str(each.old.index)
        if each.new.index != each.old.index:
            number += f" -> {each.new.index}"
        yield paint("33", plain(f"~ {number}  {_named(each.old)}"))
        for difference in each.differences:
            where = f"{difference.part} {difference.pointer}".strip()
            values = (difference.recorded, difference.live)
            was, is_now = ("nothing" if value is None else repr(value) for value in values)
            yield plain(f"    {where}: {was} -> {is_now}")
    if not compared.equal:
        yield (
            f"{len(compared.removed)} removed, {len(compared.added)} added,"
            f" {len(compared.changed)} changed, {compared.same} the same"
        )


def _named(row: Summary) -> str:
    return f"{row.method or row.type} {row.url or ''}"
