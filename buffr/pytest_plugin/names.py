"""Where the cassette of a test is: directories and names as pytest-recording has them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

__all__ = ["cassette_dir", "cassette_name", "file_name"]

_FORBIDDEN = str.maketrans(dict.fromkeys("<>?%*:|\"'/\\", "-"))
_LONGEST = 255


def cassette_dir(item: pytest.Item, directory: str | None) -> Path:
    """``cassettes/test_a`` beside the module ``test_a.py``.

    With a directory of its own: the same tree as the modules', below that.
    """
    module = item.path
    if directory is None:
        return module.parent / "cassettes" / module.stem
    root = item.config.rootpath
    below = module.parent.relative_to(root) if module.is_relative_to(root) else Path()
    return root / directory / below / module.stem


def cassette_name(item: pytest.Item) -> str:
    """``TestX.test_three[-bin]``: class, function and parameters, safe for file systems."""
    owner = getattr(item, "cls", None)
    name = item.name if owner is None else f"{owner.__name__}.{item.name}"
    return name.translate(_FORBIDDEN)


def file_name(name: str, suffix: str) -> str:
    """With its suffix, cut where file systems take no longer one."""
    if len(name.encode()) + len(suffix) > _LONGEST:
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        kept = name.encode()[: _LONGEST - len(suffix) - len(digest) - 3]
        name = f"{kept.decode(errors='ignore')}...{digest}"
    return name + suffix
