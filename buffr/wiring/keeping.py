"""What a service does if nothing can be recorded: refuse to start, or run without."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from buffr.config import Config
from buffr.errors import Unwritable
from buffr.stores.writable import why_not

__all__ = ["Keeping", "make_directory", "spool_dir_of"]

_FLAG = "start with --allow-unrecorded (BUFFR_ALLOW_UNRECORDED=1)"


@frozen(eq=False)
class Keeping:
    """Applies the setting ``allow_unrecorded``. ``warn`` takes a line for the log."""

    allow_unrecorded: bool
    warn: Callable[[str], None]

    def checked(
        self, what: str, check: Callable[[], None], *, elsewhere: str, otherwise: str
    ) -> bool:
        """Whether ``check`` finds nothing in the way of writing ``what``. Blocks.

        Raises ``Unwritable`` if it raises ``OSError`` and the settings do not
        allow that. ``elsewhere`` lists the settings for another path,
        ``otherwise`` describes what is done if it is allowed.
        """
        try:
            check()
        except OSError as error:
            problem = f"{what} cannot be written: {why_not(error)}"
            if self.allow_unrecorded:
                self.warn(f"{problem}; {otherwise}, since allow_unrecorded is set")
                return False
            raise Unwritable(
                problem, hint=f"{_remedy(error)}, {elsewhere}, or {_FLAG}: {otherwise}"
            ) from error
        return True


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there"
    return "make it writable"


def make_directory(directory: Path) -> None:
    """Create a directory and its parents if they are missing. Raises ``OSError``."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(directory)) from error


def spool_dir_of(config: Config) -> Path | None:
    """The directory for large bodies on their way into a store, for ``Spool``.

    That is ``data_dir``, unless buffr may not write there: a cassette may be
    in any directory, and its bodies can be moved there from any other.
    """
    there = config.data_dir
    while not os.path.exists(there) and there != there.parent:  # noqa: PTH110  # raises nothing
        there = there.parent
    return config.data_dir if os.access(there, os.W_OK | os.X_OK) and there.is_dir() else None
