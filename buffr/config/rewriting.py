"""Replaces a settings file, at once and only by one that can be loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["replace_file"]


def replace_file(path: Path, text: str, check: Callable[[Path], object]) -> None:
    """Replace the file at once; its permissions stay, and a link stays a link.

    ``check`` loads a settings file, so that nothing is replaced by a file that
    cannot be loaded. Raises what it raises, and ``OSError``.
    """
    real = path.resolve()
    with NamedTemporaryFile(
        "wb", dir=real.parent, prefix=f".{real.name}.", suffix=".yaml", delete=False
    ) as new:
        temporary = Path(new.name)
        try:
            new.write(text.encode())
            new.flush()
            shutil.copymode(real, temporary)
            check(temporary)
            temporary.replace(real)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
