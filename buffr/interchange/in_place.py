"""Files of other tools as sets of interactions: replayed where they are, and never written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attrs import define

from buffr.errors import BuffrError, CassetteError, StoreFailed
from buffr.interaction import Interaction
from buffr.interchange.formats import FORMATS, format_of, is_cassette
from buffr.interchange.imported import NotImported
from buffr.interchange.source import Source
from buffr.stores.cassette.snapshot import read_snapshot
from buffr.stores.memory import MemoryInteractions

__all__ = ["RecordingsInPlace", "interactions_of"]


def interactions_of(path: Path) -> Iterator[Interaction]:
    """What a file holds, whoever wrote it, as far as it can be an interaction.

    Raises ``CassetteError``.
    """
    source = Source(path)
    try:
        if is_cassette(source):
            snapshot = read_snapshot(path, lambda _: None)
            yield from map(snapshot.interaction, range(len(snapshot)))
            return
        kind = format_of(source)
        if kind is None:
            raise CassetteError(f"{path}: no importer knows this format")
        for read in FORMATS[kind].read(source):
            if not isinstance(read, NotImported):
                yield read.interaction
    except CassetteError:
        raise
    except BuffrError as error:
        raise CassetteError(error.message) from error


@define(eq=False)
class RecordingsInPlace(MemoryInteractions):
    """What is read of the file at ``path`` when it is opened; it stays as it was then.

    A file that is not there holds nothing.
    """

    @property
    def _source(self) -> Path:
        assert self.path is not None
        return self.path

    def exists(self) -> bool:
        return self._source.exists()

    def open(self, *, in_steps: bool = False) -> None:  # noqa: ARG002  # as the port has it
        """Read all of it. Blocks. Raises ``CassetteError``."""
        if not self.exists():
            return
        for interaction in interactions_of(self._source):
            self.keep(interaction)

    async def append(self, interaction: Interaction) -> None:  # noqa: ARG002  # as the port has it
        raise StoreFailed(f"{self._source} is another tool's, and only replayed")
