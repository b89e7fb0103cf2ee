"""``buffr cassette scan``: secrets in cassettes, before they are committed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from attrs import asdict, frozen

from buffr.cassette_commands.arguments import CassetteOptions, files, is_cassette
from buffr.cassette_commands.secrets import secrets_in, secrets_in_text
from buffr.errors import CassetteError
from buffr.redaction.findings import Finding
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette_snapshot import Snapshot, read_snapshot
from buffr.terminal import complain, plain

__all__ = ["Located", "located", "scan"]


class ScanOptions(CassetteOptions):
    """What ``buffr cassette scan`` takes."""

    synopsis = "Usage: buffr cassette scan [options] FILE|DIRECTORY ..."
    longdesc = (
        "Looks for credentials in cassettes: in headers, URLs, bodies and frames. Says file, "
        "interaction, place and kind of each, and of the secret no more than four characters. "
        "Says nothing when there are none. Exits with 1 when there are some, or when a file "
        "cannot be read."
    )
    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["headers", None, None, "More header names that carry credentials, by commas."],
        ["fields", None, None, "More names of query and form fields that do, by commas."],
        ["allow", None, None, "Values that are no secrets, by commas: dummy,test-key."],
    ]
    optFlags = [  # noqa: RUF012
        ["only-cassettes", None, "Pass over files that are no cassettes, as hooks need it."],
        ["json", None, "Print a JSON object for each secret, one a line."],
    ]
    takes = (1, None)


@frozen
class Located:
    """A secret: in which file and interaction, where in it, what it is, how it begins.

    ``name`` is that of the field or of the kind of token, ``shape`` what gave it away.
    """

    file: str
    interaction: int
    where: str
    name: str
    shape: str
    start: str


def scan(arguments: Sequence[str]) -> int:
    """Look for secrets; returns the exit code."""
    options = ScanOptions()
    options.parseOptions(arguments)
    headers, fields, allowed = (_listed(options[name]) for name in ("headers", "fields", "allow"))
    rules = RedactionRules.with_extra(headers=headers, fields=fields)
    code = 0
    for path in files(options.arguments):
        if options["only-cassettes"] and not is_cassette(path):
            continue
        try:
            for finding in located(path, rules, frozenset(value.encode() for value in allowed)):
                code = 1
                sys.stdout.write(_line(finding, as_json=options["json"]))
        except CassetteError as error:
            complain(str(error))
            code = 1
    return code


def _listed(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def located(path: Path, rules: RedactionRules, allowed: frozenset[bytes]) -> Iterator[Located]:
    """The secrets of a cassette, in order. Raises ``CassetteError``, at the latest in the end."""
    snapshot = read_snapshot(path, complain)
    for number, one in _secrets(snapshot, rules, allowed):
        yield Located(str(path), number, one.where, one.name, one.shape, one.start)
    if snapshot.is_torn:
        raise snapshot.torn_end


def _secrets(
    snapshot: Snapshot, rules: RedactionRules, allowed: frozenset[bytes]
) -> Iterator[tuple[int, Finding]]:
    for number in range(len(snapshot)):
        try:
            found = secrets_in(snapshot.interaction(number), rules, allowed)
        except CassetteError:  # of another type, or broken
            found = secrets_in_text(snapshot.element(number), "element", rules, allowed)
        yield from ((number, secret) for secret in found)
    if snapshot.is_torn:
        rest = secrets_in_text(snapshot.layout.rest, "torn end", rules, allowed)
        yield from ((len(snapshot), secret) for secret in rest)


def _line(finding: Located, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(asdict(finding)).decode() + "\n"
    start = f": {finding.start}..." if finding.start else ""
    where = f"interaction {finding.interaction}: {finding.where}"
    return plain(f"{finding.file}: {where}: {finding.name} ({finding.shape}){start}") + "\n"
