"""buffr: a proxy that remembers.

It records what an HTTP API answers, and replays it byte for byte; or keeps it
for as long as it is fresh. ``CachingProxy`` does that inside a program.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["CachingProxy", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what is large when it is asked for: this package alone costs nothing."""
    if name == "CachingProxy":
        from importlib import import_module  # noqa: PLC0415  # as above

        return import_module("buffr.embedded.proxy").CachingProxy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
