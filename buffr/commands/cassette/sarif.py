"""Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the files."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import frozen

from buffr import __version__

__all__ = ["Result", "sarif"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@frozen
class Result:
    """A finding as SARIF has it: ``rule`` is detector and kind, ``place`` where it stands."""

    file: str
    line: int
    rule: str
    place: str
    message: str


def sarif(results: Sequence[Result], faults: Sequence[str]) -> dict[str, Any]:
    """A log with one run. ``faults`` say what could not be read."""
    rules = sorted({result.rule for result in results})
    notes = [{"level": "error", "message": {"text": fault}} for fault in faults]
    seen: dict[str, int] = {}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "buffr",
                        "version": __version__,
                        "rules": [_rule(rule) for rule in rules],
                    }
                },
                "invocations": [
                    {"executionSuccessful": not faults, "toolExecutionNotifications": notes}
                ],
                "results": [_result(result, rules.index(result.rule), seen) for result in results],
            }
        ],
    }


def _rule(rule: str) -> dict[str, Any]:
    detector, _, kind = rule.partition("/")
    text = f"A recording holds what looks like a secret: {kind}, found by {detector}."
    return {"id": rule, "shortDescription": {"text": text}}


def _result(result: Result, index: int, seen: dict[str, int]) -> dict[str, Any]:
    name = f"{result.file}\n{result.rule}\n{result.place}"
    seen[name] = seen.get(name, -1) + 1
    fingerprint = sha256(f"{name}\n{seen[name]}".encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "ruleId": result.rule,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": result.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(result.file)},
                    "region": {"startLine": result.line},
                },
                "logicalLocations": [{"fullyQualifiedName": result.place}],
            }
        ],
        "partialFingerprints": {"buffrPlace/v1": fingerprint},
    }


def _uri(file: str) -> str:
    """A relative reference where the file is below the working directory, as code hosts ask for."""
    path = Path(file)
    if path.is_absolute():
        try:
            path = path.relative_to(Path.cwd())
        except ValueError:
            return "file://" + quote(path.as_posix(), errors="surrogateescape")
    return quote(path.as_posix(), errors="surrogateescape")
