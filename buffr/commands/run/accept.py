"""Writes the rules that would have made the misses of a run hits into the settings file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from buffr.config import Config
from buffr.config.growing import with_rules
from buffr.config.rewriting import replace_file
from buffr.errors import ConfigError
from buffr.formats.yaml_lines import Data
from buffr.policy.mode import Mode

if TYPE_CHECKING:
    from buffr.matching.suggestion import Suggestion

__all__ = ["accept", "refuse_in_vain"]

_FLAG = "--accept-rules"


def refuse_in_vain(path: str | None, config: Config, environ: Mapping[str, str]) -> None:
    """Raise ``ConfigError`` if no rule could be written, or none would ever be used."""
    forward = config.forward
    assert forward is not None
    if path is None:
        raise ConfigError(
            f"{_FLAG}: there is no settings file to write to",
            hint="name one with --config; a file with `forward: {}` is enough",
        )
    if environ.get("BUFFR_PROXY"):
        raise ConfigError(
            f"{_FLAG}: BUFFR_PROXY describes the forward proxy, not {path}",
            hint="move its content there, below `forward:`",
        )
    if Mode.REPLAY not in {forward.mode, *(row.mode for row in forward.hosts)}:
        raise ConfigError(f"{_FLAG}: only mode replay has misses", hint="add --replay")


def accept(
    path: Path, proposed: Iterable[tuple[str, Suggestion]], check: Callable[[Path], object]
) -> str:
    """Add the rules to the file, those for one host together; returns a line about it.

    ``check`` loads a settings file, so that nothing is replaced by a file that
    cannot be loaded. Raises ``ConfigError``.
    """
    rules: dict[str, dict[str, list[Data]]] = {}
    for host, rule in proposed:
        for name, values in rule.settings().items():
            known = rules.setdefault(host, {}).setdefault(name, [])
            known += [value for value in values if value not in known]
    if not rules:
        return f"{_FLAG}: no miss has a rule that would be enough"
    try:
        before = path.read_bytes().decode()
        text = before
        for host, found in rules.items():
            text = with_rules(text, host, found)
        replace_file(path, text, check)
    except OSError as error:
        raise ConfigError(f"{_FLAG}: {path}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{_FLAG}: {path}: {error.message}", hint=error.hint) from None
    count = sum(len(values) for found in rules.values() for values in found.values())
    which = "1 rule" if count == 1 else f"{count} rules"
    return f"{_FLAG}: {which} for {', '.join(rules)} added to {path}; see what they leave out"
