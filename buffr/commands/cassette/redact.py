"""``buffr cassette redact``: takes out of old cassettes what today's rules find."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from buffr.commands.cassette.arguments import declare_names, listed, snapshot_of, types_of
from buffr.commands.cassette.entries import Kind, kind_of_file
from buffr.commands.cassette.secrets import Secrets
from buffr.commands.parser import Parser
from buffr.commands.progress import followed
from buffr.commands.terminal import complain, plain, times
from buffr.errors import CassetteError
from buffr.interaction import HTTPInteraction, Interaction, WebSocketInteraction
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.rewriting import new_salt, rewrite
from buffr.stores.cassette.snapshot import Snapshot, file_errors

__all__ = ["declare", "run"]

_FRAME = re.compile(r"^frame \d+")
_NOT_DONE = 2


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Replaces the credentials that today's rules find in cassettes with stand-ins, and says "
        "how many it replaced, and where. What matched before still matches. No copy of the old "
        "file is kept. Exits with 2 if something could not be done.",
        "FILE ...",
        examples=(("buffr cassette redact --dry-run api.json", "say what would be replaced"),),
    )
    parser.argument("files", metavar="FILE", nargs="+", help="cassettes")
    declare_names(parser)
    parser.flag(
        "-n",
        "--dry-run",
        action="store_true",
        help="say what would be replaced, and leave the files as they are",
    )


def run(given: argparse.Namespace) -> int:
    """Take secrets out of cassettes; returns the exit code."""
    rules = RedactionRules.with_extra(
        headers=listed(given.headers), fields=listed(given.fields), unsafe="warn"
    )
    done = True
    for name in given.files:
        path = Path(name)
        replacing = _Replacing(path, rules)
        try:
            _check_kind(path)
            replacing.run(dry_run=given.dry_run)
        except CassetteError as error:
            complain(str(error))
            done = False
        done = done and not replacing.incomplete
    return 0 if done else _NOT_DONE


def _check_kind(path: Path) -> None:
    with file_errors(path):
        kind = kind_of_file(path)
    if kind not in (None, Kind.CASSETTE):
        raise CassetteError(f"{path}: it is a {kind.value}; only cassettes can be redacted")


@define
class _Replacing:
    """One cassette whose secrets are replaced, and what was found in it."""

    path: Path
    rules: RedactionRules
    incomplete: bool = False
    _places: Counter[str] = field(init=False, factory=Counter)
    _redactors: list[Redactor] = field(init=False, factory=list)  # their files live as they do

    def run(self, *, dry_run: bool) -> None:
        """Raises ``CassetteError`` with the file as it was."""
        if dry_run:
            snapshot = snapshot_of(str(self.path))
            count = len(self._instead(snapshot, snapshot.layout.salt or new_salt()))
            files = 0
        else:
            rewritten = rewrite(self.path, self._instead, complain)
            count, files = rewritten.interactions, len(rewritten.body_files)
        self._tell(count, files, "would be changed" if dry_run else "changed")

    def _tell(self, count: int, files: int, done: str) -> None:
        out = [f"{self.path}: {times(count, 'interaction', 'interactions')} {done}"]
        if files:
            out[0] += f", {times(files, 'body file', 'body files')} replaced"
        out += [f"  {number} in {place}" for place, number in sorted(self._places.items())]
        sys.stdout.write("".join(f"{plain(line)}\n" for line in out))
        stem = self.path.name.removesuffix(".json")
        for beside in sorted(self.path.parent.glob(f"{_escaped(stem)}.json.*")):
            if count and not beside.name.endswith(".tmp"):
                complain(f"{beside} is an older state, and may hold the same: remove it")

    def _instead(self, snapshot: Snapshot, salt: str) -> Mapping[int, Interaction]:
        """The interactions that must be others, and these."""
        types = types_of(str(self.path), None)
        redactor = Redactor(self.rules, salt.encode(), self._doubt, types=types)
        self._redactors.append(redactor)
        secrets = Secrets(self.rules)
        instead: dict[int, Interaction] = {}
        self._places.clear()
        for number in followed(range(len(snapshot)), "interactions", len(snapshot)):
            try:
                old = snapshot.interaction(number)
            except CassetteError as error:
                self._look_at_foreign(snapshot, number, error, secrets)
                continue
            try:
                new = redactor.interaction(old)
            except OSError as error:
                raise CassetteError(f"{error.filename}: {error.strerror}") from error
            if not _same(old, new):
                instead[number] = new
                self._count(old, secrets)
        return instead

    def _doubt(self, warning: str) -> None:
        complain(f"{self.path}: {warning}")
        self.incomplete = True

    def _look_at_foreign(
        self, snapshot: Snapshot, number: int, error: CassetteError, secrets: Secrets
    ) -> None:
        """What cannot be read as an interaction stays; that it has secrets is told."""
        if any(secrets.in_text(snapshot.element(number), "element")):
            complain(f"{error.message}; it holds secrets, and is left as it is: remove it")
            self.incomplete = True

    def _count(self, old: Interaction, secrets: Secrets) -> None:
        for one in secrets.of(old):
            where = one.finding.where.partition(" /")[0]
            self._places[_FRAME.sub("frames", where)] += 1


def _same(old: Interaction, new: Interaction) -> bool:
    """Whether redaction left an interaction as it is; its values compare by identity."""
    if old.request.target != new.request.target or old.request.headers != new.request.headers:
        return False
    answered, other = old.response, new.response
    if answered.headers != other.headers or answered.reason != other.reason:
        return False
    if old.bodies != new.bodies:
        return False
    if isinstance(old, HTTPInteraction) and isinstance(new, HTTPInteraction):
        return old.trailers == new.trailers and old.captures == new.captures
    assert isinstance(old, WebSocketInteraction)
    assert isinstance(new, WebSocketInteraction)
    return old.frames == new.frames


def _escaped(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)
