"""What a service does where nothing could be recorded: refuse to start, or go on without."""

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

        Raises ``Unwritable`` where it raises ``OSError`` and the settings do
        not allow that. ``elsewhere`` says which settings name another place,
        ``otherwise`` what is done where it is allowed.
        """
        try:
            check()
        except OSError as error:
            problem = f"{what} cannot be written: {why_not(error)}"
            if self.allow_unrecorded:
                self.warn(f"{problem}; {otherwise}, as allow_unrecorded says")
                return False
            raise Unwritable(
                problem, hint=f"{_mended(error)}, {elsewhere}, or {_FLAG}: {otherwise}"
            ) from error
        return True


def _mended(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there"
    return "make it writable"


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it, where it is missing. Raises ``OSError``."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(directory)) from error


def spool_dir_of(config: Config) -> Path | None:
    """Where large bodies are put on their way into a store, as ``Spool`` has it.

    That is ``data_dir``, unless buffr may not write there: a cassette may be
    anywhere, and its bodies come to it from wherever they were.
    """
    there = config.data_dir
    while not os.path.exists(there) and there != there.parent:  # noqa: PTH110  # raises nothing
        there = there.parent
    return config.data_dir if os.access(there, os.W_OK | os.X_OK) and there.is_dir() else None
