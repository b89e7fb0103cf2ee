"""Converts files of other tools to cassettes, and reports losses for each interaction."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from buffr.errors import CassetteError
from buffr.interaction import Interaction
from buffr.interchange.formats import FORMATS, Format, format_of
from buffr.interchange.imported import NotImported
from buffr.interchange.source import ImportLimits, Source, SourceError
from buffr.origin import Origin
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.writing import write_new

__all__ = ["FileReport", "Importing", "found_in", "target_for"]


@define
class FileReport:
    """The result of one import. Numbers count its interactions from 0, as they are in it.

    ``losses`` are by interaction; ``lacks`` is what the format never has.
    """

    path: Path
    kind: Format
    imported: int = 0
    losses: list[tuple[int, str]] = field(factory=list)
    refused: list[tuple[int, str]] = field(factory=list)

    @property
    def lacks(self) -> tuple[str, ...]:
        return FORMATS[self.kind].lacks

    def counted(self) -> Counter[str]:
        """How many interactions have each loss."""
        return Counter(loss for _, loss in self.losses)

    def as_json(self) -> dict[str, Any]:
        """For ``--report``: members, lists and text."""
        return {
            "file": str(self.path),
            "format": str(self.kind),
            "imported": self.imported,
            "format_lacks": list(self.lacks),
            "losses": [{"interaction": number, "loss": loss} for number, loss in self.losses],
            "not_imported": [{"interaction": number, "why": why} for number, why in self.refused],
        }


@frozen
class Importing:
    """How files are imported. ``origin`` is for sources that do not know their host.

    ``progress`` gets the number of each interaction that is read.
    """

    rules: RedactionRules
    warn: Callable[[str], None]
    kind: Format | None = None
    origin: Origin | None = None
    limits: ImportLimits = ImportLimits()
    progress: Callable[[int], None] = field(default=lambda _: None)

    def run(self, paths: Iterable[Path], cassette: Path) -> list[FileReport]:
        """Import files into one new cassette, in their order.

        Raises ``SourceError`` or ``CassetteError`` with no cassette written.
        """
        reports: list[FileReport] = []
        salt = secrets.token_hex(16)
        redactor = Redactor(self.rules, salt.encode(), self.warn)

        def interactions() -> Iterator[Interaction]:
            for path in paths:
                yield from map(redactor.interaction, self._interactions(path, reports))

        write_new(cassette, salt, interactions(), self.warn)
        return reports

    def _interactions(self, path: Path, reports: list[FileReport]) -> Iterator[Interaction]:
        source = Source(path, self.limits)
        kind = self.kind or format_of(source)
        if kind is None:
            raise SourceError(f"{path}: no importer knows this format; --from names it")
        report = FileReport(path, kind)
        reports.append(report)
        for number, read in enumerate(FORMATS[kind].read(source)):
            self.progress(number)
            if isinstance(read, NotImported):
                report.refused.append((number, read.message))
                continue
            report.losses += [(number, loss) for loss in read.losses]
            report.imported += 1
            yield self._placed(read.interaction)

    def _placed(self, interaction: Interaction) -> Interaction:
        """With the host that the user named, where the source knows none."""
        origin, request = self.origin, interaction.request
        if origin is None or request.host is not None:
            return interaction
        named = evolve(request, scheme=origin.scheme, host=origin.host, port=origin.port)
        return evolve(interaction, request=named)


def found_in(path: Path, warn: Callable[[str], None]) -> list[Path]:
    """The files to import from a path: itself, or all files below it with a known format."""
    found = list(_below(path, warn)) if path.is_dir() else [path]
    if not found:
        raise SourceError(f"{path}: there is no file in it that an importer knows")
    return found


def _below(path: Path, warn: Callable[[str], None]) -> Iterator[Path]:
    """Directories that are one recording, and files."""
    try:
        known = format_of(Source(path))
    except SourceError as error:
        warn(error.message)
        return
    if known is not None:
        yield path
    elif path.is_dir():
        for each in sorted(path.iterdir()):
            if not each.name.startswith(".") and not each.is_symlink():
                yield from _below(each, warn)


def target_for(path: Path, root: Path, output: Path | None, taken: set[Path]) -> Path:
    """The cassette of a file: beside it, or at its place below ``output``.

    It has the file's whole name where another cassette, in ``taken``, has it
    without the suffix. Raises ``CassetteError`` where it would be the file itself.
    """
    target = _target_for(path, root, output)
    if target in taken:
        target = target.with_name(f"{path.name}.json")
    taken.add(target)
    return target


def _target_for(path: Path, root: Path, output: Path | None) -> Path:
    beside = path.with_suffix(".json") if path.is_file() else path.with_name(f"{path.name}.json")
    if output is not None:
        inner = beside.relative_to(root) if beside.is_relative_to(root) else Path(beside.name)
        return output / inner
    if beside == path:
        raise CassetteError(f"{path}: its cassette would be itself; -o names another place")
    return beside
