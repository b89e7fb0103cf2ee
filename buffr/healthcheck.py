"""``python -m buffr.healthcheck``: whether every port that the environment names is open.

For containers: it reads the same environment as the service beside it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from buffr.config import load
from buffr.errors import ConfigError

__all__ = ["healthy"]

_TIMEOUT_S = 2.0
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not listened on here


def healthy(environ: Mapping[str, str]) -> str | None:
    """``None`` when all ports answer, else what is wrong."""
    path = environ.get("BUFFR_CONFIG")
    try:
        config = load(Path(path) if path else None, environ, {})
    except ConfigError as error:
        return error.message
    host = _EVERY_ADDRESS.get(config.listen, config.listen)
    ports = [row.port for row in config.reverse]
    if config.forward is not None:
        ports.append(config.forward.port)
    for port in ports:
        try:
            socket.create_connection((host, port), _TIMEOUT_S).close()
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}"
    return None


if __name__ == "__main__":
    wrong = healthy(os.environ)
    if wrong is not None:
        sys.stderr.write(f"buffr: {wrong}\n")
        sys.exit(1)
