"""``buffr config convert``: turns the settings of other programs into buffr's."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from attrs import evolve

from buffr.commands.parser import Parser
from buffr.config.api_buddy import ApiBuddySettings, read_api_buddy
from buffr.config.api_buddy_yaml import as_yaml
from buffr.embedded.running import listening_address
from buffr.errors import ConfigError

__all__ = ["declare", "read_json", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Prints the settings of reference-api-buddy as those of buffr (YAML). What has no "
        "counterpart is printed as a comment.",
        "FILE",
        examples=(("buffr config convert config.json > buffr.yaml", "then run `buffr serve`"),),
    )
    parser.argument("file", type=Path, metavar="FILE", help="its settings file (JSON)")


def run(given: argparse.Namespace) -> int:
    """Print the converted settings; returns the exit code."""
    try:
        sys.stdout.write(_converted(given.file))
    except ConfigError as error:
        sys.stderr.write("".join(f"buffr: {line}\n" for line in str(error).splitlines()))
        return 1
    return 0


def _converted(path: Path) -> str:
    settings = read_api_buddy(read_json(path), str(path))
    for warning in settings.warnings:
        sys.stderr.write(f"buffr: {warning}\n")
    try:
        address = listening_address(settings.host)
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from None
    return _head(settings, address) + as_yaml(evolve(settings, host=address))


def read_json(path: Path) -> Any:
    """Load a JSON file. Raises ``ConfigError``."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or 'no such file'}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error


def _head(settings: ApiBuddySettings, address: str) -> str:
    """Settings without an equivalent, as comments."""
    lines = []
    if settings.host not in (address, f"[{address}]"):
        lines.append(
            f"server.host {settings.host}: listen takes an address; {address} is this host's."
        )
    log = settings.log
    if log.level != "INFO":
        lines.append(f"logging.level {log.level}: buffr logs every request, at its own levels.")
    if log.file is not None:
        lines.append(f"logging.file_path {log.file}: buffr logs to standard error; redirect that.")
    if log.parent_logger is not None:
        lines.append(f"logging.parent_logger {log.parent_logger}: applies inside a program only.")
    if not settings.log_security_events:
        lines.append("security.log_security_events: buffr logs refused requests.")
    return "".join(f"# {line}\n" for line in lines)
