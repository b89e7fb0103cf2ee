"""``buffr cassette scan``: secrets in recordings, before they are committed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field, frozen

from buffr.commands.cassette.arguments import declare_names, listed
from buffr.commands.cassette.baseline import Baseline
from buffr.commands.cassette.detectors import (
    ENTROPY,
    LIBRARY,
    PREFIX,
    by_entropy,
    by_prefix,
    library,
)
from buffr.commands.cassette.entries import entries, kind_of_file
from buffr.commands.cassette.entry import Entry
from buffr.commands.cassette.sarif import Result, sarif
from buffr.commands.cassette.secrets import REDACTION, Detector, Secret, Secrets
from buffr.commands.parser import Parser, nearest
from buffr.commands.progress import followed
from buffr.commands.terminal import complain, plain
from buffr.errors import CassetteError
from buffr.redaction.rules import RedactionRules

__all__ = ["Located", "declare", "located", "run"]

_FOUND, _FAILED = 1, 2
_ENDINGS = (".json", ".har", ".yaml", ".yml", ".db", ".sqlite", ".sqlite3")
_DETECTORS = (REDACTION, PREFIX, LIBRARY, ENTROPY)
_MISSING = (
    "detect-secrets is not installed, and its rules were not used: "
    "python -m pip install detect-secrets (or --detectors redaction,prefix,entropy)"
)


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Looks for credentials in cassettes, HAR files, VCR.py files and buffr's caches: in "
        "headers, URLs, bodies and frames. Prints file, interaction, place, kind and detector of "
        "each, and no more than four characters of the secret. Exits with 0 and prints nothing "
        "if there are none, with 1 if there are some, and with 2 if something cannot be read.",
        "FILE|DIRECTORY ...",
        examples=(
            ("buffr cassette scan tests/cassettes", "scan all recordings below a directory"),
            (
                "buffr cassette scan --baseline judged.json --update-baseline tests/cassettes",
                "accept everything that is found today",
            ),
        ),
        check=_check,
    )
    parser.argument("paths", metavar="FILE|DIRECTORY", nargs="+", help="recordings")
    declare_names(parser)
    parser.flag("--allow", metavar="VALUES", help="values that are not secrets: dummy,test-key")
    parser.flag(
        "-b", "--baseline", metavar="FILE", help="a file of accepted findings, which are skipped"
    )
    parser.flag(
        "--detectors",
        metavar="NAMES",
        help=f"detectors to use, separated by commas: {', '.join(_DETECTORS)} [all]",
    )
    parser.flag(
        "--update-baseline", action="store_true", help="write everything found to the baseline"
    )
    parser.flag(
        "--only-cassettes", action="store_true", help="skip files of other kinds, as hooks need it"
    )
    parser.flag(
        "--json", action="store_true", help="print a JSON object for each secret, one a line"
    )
    parser.flag("--sarif", action="store_true", help="print SARIF 2.1.0, for code hosts")


def _check(given: argparse.Namespace) -> None:
    """See that the arguments go together."""
    if given.update_baseline and given.baseline is None:
        given.parser.error("--update-baseline needs --baseline FILE")
    if given.json and given.sarif:
        given.parser.error("--json and --sarif are alternatives")
    given.wanted = listed(given.detectors) or list(_DETECTORS)
    for name in given.wanted:
        if name not in _DETECTORS:
            known = ", ".join(_DETECTORS)
            guess = nearest(name, _DETECTORS)
            given.parser.error(f"--detectors: {name!r} must be one of {known}{guess}")


@frozen
class Located:
    """A secret: in which file and recording, on which line that begins, and what is known of it.

    ``interaction`` counts from 0; it is ``None`` for what belongs to the whole file.
    """

    file: str
    interaction: int | None
    line: int
    secret: Secret

    @property
    def place(self) -> str:
        where = self.secret.finding.where
        return where if self.interaction is None else f"interaction {self.interaction}: {where}"

    @property
    def what(self) -> str:
        """The finding, and the beginning of its value."""
        one = self.secret.finding
        start = f": {one.start}..." if one.start else ""
        by = "" if self.secret.detector == REDACTION else f", {self.secret.detector}"
        return f"{one.name} ({one.shape}{by if by != f', {one.shape}' else ''}){start}"


def run(given: argparse.Namespace) -> int:
    """Look for secrets; returns the exit code."""
    try:
        return _Scan(given).run()
    except CassetteError as error:
        complain(str(error))
    return _FAILED


@define
class _Scan:
    """One run of the command."""

    given: argparse.Namespace
    baseline: Baseline | None = None
    allowed: frozenset[bytes] = frozenset()
    found: list[Located] = field(factory=list)
    faults: list[str] = field(factory=list)

    def run(self) -> int:
        given = self.given
        self.allowed = frozenset(value.encode() for value in listed(given.allow))
        if given.baseline is not None:
            update = bool(given.update_baseline)
            self.baseline = Baseline.read(Path(given.baseline), must_exist=not update)
        paths = list(_files(given))
        secrets = self._secrets() if paths else Secrets(RedactionRules())
        scanned = [self._file(path, secrets) for path in paths]
        if given.sarif:
            sys.stdout.write(self._sarif())
        if given.update_baseline:
            self._judge(scanned)
            return _FAILED if self.faults else 0
        return _FAILED if self.faults else _FOUND if self.found else 0

    def _secrets(self) -> Secrets:
        given = self.given
        rules = RedactionRules.with_extra(
            headers=listed(given.headers), fields=listed(given.fields)
        )
        detectors: list[Detector] = [by_prefix] if PREFIX in given.wanted else []
        if LIBRARY in given.wanted:
            loaded = library()
            if loaded is not None:
                detectors.append(loaded)
            elif given.detectors is not None:
                raise CassetteError(_MISSING)
            else:
                complain(_MISSING)
        if ENTROPY in given.wanted:
            detectors.append(by_entropy)
        return Secrets(rules, detectors, by_redaction=REDACTION in given.wanted)

    def _file(self, path: Path, secrets: Secrets) -> str:
        try:
            for one in located(path, secrets):
                if self._counts(one):
                    self.found.append(one)
                    if not self.given.sarif and not self.given.update_baseline:
                        sys.stdout.write(_line(one, as_json=self.given.json))
        except CassetteError as error:
            self.faults.append(str(error))
            complain(str(error))
        return str(path)

    def _counts(self, one: Located) -> bool:
        secret = one.secret.finding.secret
        if secret in self.allowed:
            return False
        judged = self.baseline is not None and self.baseline.has(secret)
        return not judged or bool(self.given.update_baseline)

    def _sarif(self) -> str:
        results = [
            Result(
                one.file,
                one.line,
                f"{one.secret.detector}/{one.secret.finding.shape}",
                plain(one.place),
                plain(f"{one.place}: {one.what}"),
            )
            for one in self.found
        ]
        return msgspec.json.encode(sarif(results, self.faults)).decode() + "\n"

    def _judge(self, scanned: Sequence[str]) -> None:
        baseline = self.baseline
        assert baseline is not None
        known = len(baseline.judged)
        baseline.replace(map(_relative, scanned), [self._entry(one) for one in self.found])
        baseline.write()
        count = len(baseline.judged)
        if not self.given.sarif:
            path = plain(str(baseline.path))
            sys.stdout.write(f"{path}: {count} findings are judged, {known} were before\n")

    def _entry(self, one: Located) -> dict[str, Any]:
        assert self.baseline is not None
        finding = one.secret.finding
        return {
            "file": _relative(one.file),
            "where": plain(finding.where),
            "name": plain(finding.name),
            "detector": one.secret.detector,
            "shape": finding.shape,
            "digest": self.baseline.digest(finding.secret),
        }


def _relative(file: str) -> str:
    """A file's name as a baseline has it: the same from wherever an absolute path comes."""
    return Path(os.path.relpath(file)).as_posix()


def _files(given: argparse.Namespace) -> Iterator[Path]:
    """The files that are named, and of directories those that hold recordings, in order."""
    for path in map(Path, given.paths):
        if path.is_dir():
            yield from _recordings_below(path)
        elif not given.only_cassettes or _is_recording(path):
            yield path


def _recordings_below(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            named = name.endswith(_ENDINGS) or ".json.bak" in name
            if named and path.is_file() and _is_recording(path):
                yield path


def _is_recording(path: Path) -> bool:
    try:
        return kind_of_file(path) is not None
    except OSError:
        return True  # and is told then


def located(path: Path, secrets: Secrets) -> Iterator[Located]:
    """The secrets of a file, in order. Raises ``CassetteError``, at the latest in the end."""
    for entry in followed(entries(path), f"entries of {path.name}"):
        for secret in _of_entry(entry, secrets):
            yield Located(str(path), entry.number, entry.line, secret)


def _of_entry(entry: Entry, secrets: Secrets) -> Iterator[Secret]:
    if entry.interaction is not None:
        yield from secrets.of(entry.interaction)
    for where, text in entry.texts:
        yield from secrets.in_text(text, where)


def _line(one: Located, *, as_json: bool) -> str:
    if not as_json:
        return plain(f"{one.file}: {one.place}: {one.what}") + "\n"
    finding = one.secret.finding
    told = {
        "file": one.file,
        "interaction": one.interaction,
        "line": one.line,
        "where": finding.where,
        "name": finding.name,
        "shape": finding.shape,
        "detector": one.secret.detector,
        "start": finding.start,
    }
    return msgspec.json.encode(told).decode() + "\n"
