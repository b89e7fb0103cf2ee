"""A cassette as it was in its file at one moment, for inspection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from buffr.errors import CassetteError
from buffr.interaction import Interaction
from buffr.stores.cassette.checks import stale_cuts
from buffr.stores.cassette.file import CassetteFile, OpenCassette, Stamp
from buffr.stores.cassette.format import decode, decode_index, kind_of
from buffr.stores.cassette.layout import Layout, LayoutState
from buffr.stores.cassette.seals import is_edited
from buffr.stores.cassette.window import Disturbed
from buffr.stores.disk import Disk

__all__ = ["Snapshot", "file_errors", "read_opened", "read_snapshot"]

Warn = Callable[[str], None]


@frozen(eq=False)
class Snapshot:
    """A cassette's elements in memory, as in the text, and the place of its body files.

    Elements are counted from 0, in recorded order.
    """

    path: Path
    bodies: Path
    layout: Layout
    stamp: Stamp

    def __len__(self) -> int:
        return len(self.layout.spans)

    @property
    def is_torn(self) -> bool:
        """Whether the text ends before the cassette does."""
        return self.layout.state is LayoutState.TORN

    @property
    def torn_end(self) -> CassetteError:
        """The error for a torn cassette."""
        return CassetteError(
            f"{self.path}: {self.layout.damage}",
            hint="the next start in mode auto or record sets the torn end aside",
        )

    def element(self, number: int) -> bytes:
        """The JSON of an interaction, as in the file."""
        return self.layout.element(number)

    def kind(self, number: int) -> str:
        """The ``type`` of an element: ``http``, ``websocket`` or any other; empty for none."""
        return kind_of(self.element(number))

    def interaction(self, number: int) -> Interaction:
        """Raises ``CassetteError`` that names the interaction and what is wrong with it."""
        try:
            return decode(self.element(number), self.bodies)
        except CassetteError as error:
            raise CassetteError(self.named(number, error.message)) from error

    def is_edited(self, number: int) -> bool:
        """Whether an interaction is known to be other than buffr wrote it."""
        return is_edited(self.element(number))

    def stale_cuts(self, number: int) -> list[str]:
        """Warnings about sizes in an interaction that no longer match its body."""
        return list(stale_cuts(decode_index(self.element(number))))

    def named(self, number: int, what: str) -> str:
        """A message about an interaction, with its file, line and number."""
        start = self.layout.spans.end_of(number + 1)[0] - len(self.element(number))
        line = self.layout.line(start)
        return f"{self.path}:{line}: interaction {number}: {what}"


def read_snapshot(path: Path, warn: Warn) -> Snapshot:
    """Read a cassette while no other buffr writes it.

    A torn cassette contains its complete interactions. Raises
    ``CassetteError``.
    """
    file = CassetteFile(path, 0o600, sync=False, disk=Disk(), warn=warn)
    with file_errors(path), file.reading(known=False) as opened:
        return read_opened(file, opened)


def read_opened(file: CassetteFile, opened: OpenCassette) -> Snapshot:
    """Read a file that is open. Raises ``CassetteError``, ``OSError``, ``Disturbed``."""
    text, stamp = opened.read()
    layout = Layout.of(text, file.path)
    for _ in layout.elements():
        pass
    real = file.real_path
    return Snapshot(file.path, real.with_name(f"{real.stem}.d"), layout, stamp)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turns errors with a file into a ``CassetteError`` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise CassetteError(f"{path}: there is no such file") from error
    except OSError as error:
        raise CassetteError(f"{path}: {error.strerror}") from error
    except Disturbed:
        raise CassetteError(f"{path}: other programs write to it without a pause") from None
