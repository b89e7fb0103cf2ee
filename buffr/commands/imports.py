"""Imports of what serves: a thousand modules, which stay for good.

The garbage collector would look through them again and again while they come,
a tenth of the time, and once more when the service starts.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["for_good"]


@contextmanager
def for_good() -> Iterator[None]:
    """What is imported meanwhile is never looked through by the garbage collector."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
