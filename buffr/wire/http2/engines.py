"""The choice of an engine: libnghttp2's where it is installed, otherwise h2's."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from buffr.errors import ConfigError
from buffr.wire.http2.interface import Bounds, Engine, Role, User

__all__ = ["ENGINES", "EngineName", "engine_name", "open_engine"]

EngineName = Literal["auto", "ngh2", "h2"]

ENGINES: tuple[EngineName, ...] = ("ngh2", "h2")
"""From the fastest to the slowest; each is the name of its package."""


def engine_name(wanted: EngineName = "auto") -> EngineName:
    """The engine to use; ``auto`` is the fastest that is installed.

    Raises ``ConfigError`` if it is not installed.
    """
    names: tuple[EngineName, ...] = ENGINES if wanted == "auto" else (wanted,)
    for name in names:
        if find_spec(name) is not None:
            return name
    raise ConfigError(
        f"http2_engine: {wanted}: {' and '.join(names)} cannot be imported",
        hint=f"pip install {names[-1]}, or set http2: false",
    )


def open_engine(role: Role, user: User, bounds: Bounds, name: EngineName = "auto") -> Engine:
    """A connection in HTTP/2 whose first frames wait to be taken.

    ``name`` is as returned by ``engine_name``, or ``auto``. The library is
    imported when the first connection is opened.
    """
    if (engine_name() if name == "auto" else name) == "ngh2":
        from buffr.wire.http2.ngh2_engine import Ngh2Engine  # noqa: PLC0415

        return Ngh2Engine(role, user, bounds)
    from buffr.wire.http2.h2_engine import H2Engine  # noqa: PLC0415

    return H2Engine(role, user, bounds)
