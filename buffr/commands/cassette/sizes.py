"""Sizes as people read them."""

from __future__ import annotations

__all__ = ["sized"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_NEXT = 1024


def sized(size_bytes: int) -> str:
    """``512 B``, ``1.5 KiB``."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < _NEXT or unit == _UNITS[-1]:
            break
        size /= _NEXT
    return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"
