"""Settings from text, as the tests of this directory write them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from buffr.config import Config, load
from buffr.errors import ConfigError

__all__ = ["loaded", "refused"]

ONE_ROUTE = "reverse: [{target: http://example.com}]\n"


def loaded(
    text: str | bytes | None = ONE_ROUTE,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    mapping: Mapping[Any, Any] | None = None,
) -> Config:
    """The settings of a file ``s.yaml`` with this text, or of a mapping, or of neither."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s.yaml"
        if text is not None:
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        try:
            config = load(
                None if text is None else path, environ or {}, flags or {}, mapping=mapping
            )
        except ConfigError as error:
            raise ConfigError(error.message.replace(str(path), "s.yaml")) from None
        return evolve(
            config, warnings=tuple(line.replace(str(path), "s.yaml") for line in config.warnings)
        )


def refused(
    text: str | bytes | None = ONE_ROUTE,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    mapping: Mapping[Any, Any] | None = None,
) -> list[str]:
    """The lines with which the same is refused."""
    with pytest.raises(ConfigError) as caught:
        loaded(text, environ, flags, mapping)
    return caught.value.message.split("\n")
