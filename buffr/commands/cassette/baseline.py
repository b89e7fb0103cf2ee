"""Findings that a person has accepted as harmless, in a file next to the cassettes.

An entry has a keyed digest of the value, never the value, and neither the
number of the recording nor a line, so that it holds when the recording is
made anew.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from attrs import define, field

from buffr.errors import CassetteError

__all__ = ["Baseline"]

_VERSION = 1
_DIGEST_BYTES = 16


@define
class Baseline:
    """The accepted findings of a file. ``path`` may not exist yet."""

    path: Path
    salt: str = field(factory=lambda: secrets.token_hex(16))
    judged: dict[str, Mapping[str, Any]] = field(factory=dict)
    """By digest and detector: what a person needs to know which finding it was."""

    @classmethod
    def read(cls, path: Path, *, must_exist: bool) -> Baseline:
        """Raises ``CassetteError`` for a file that is not a baseline."""
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            if not must_exist:
                return cls(path)
            raise CassetteError(
                f"{path}: there is no such file", hint="--update-baseline writes one"
            ) from None
        except OSError as error:
            raise CassetteError(f"{path}: {error.strerror}") from error
        try:
            document = msgspec.json.decode(text, type=_Document)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CassetteError(f"{path}: it is not a baseline: {error}") from None
        if document.version != _VERSION:
            raise CassetteError(f"{path}: version {document.version} is not known to this buffr")
        judged: dict[str, Mapping[str, Any]] = {
            str(entry["digest"]): entry for entry in document.findings if "digest" in entry
        }
        return cls(path, document.salt, judged)

    def digest(self, secret: bytes) -> str:
        """The representation of a value in the file."""
        return hmac.digest(self.salt.encode(), secret, "sha256")[:_DIGEST_BYTES].hex()

    def has(self, secret: bytes) -> bool:
        """Whether a value was accepted."""
        return self.digest(secret) in self.judged

    def replace(self, scanned: Iterable[str], found: Iterable[Mapping[str, Any]]) -> None:
        """Accept the findings in the scanned files; entries of other files are kept."""
        gone = frozenset(scanned)
        kept = [entry for entry in self.judged.values() if entry.get("file") not in gone]
        self.judged = {str(entry["digest"]): entry for entry in [*kept, *found]}

    def write(self) -> None:
        """Write the file atomically. Raises ``CassetteError``."""
        entries = sorted(
            self.judged.values(), key=lambda one: (str(one.get("file")), str(one["digest"]))
        )
        text = msgspec.json.encode(_Document(_VERSION, self.salt, [dict(one) for one in entries]))
        partial = self.path.with_name(f".{self.path.name}.{uuid4().hex}.tmp")
        try:
            partial.write_bytes(msgspec.json.format(text, indent=2) + b"\n")
            os.replace(partial, self.path)  # noqa: PTH105
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise CassetteError(f"{self.path}: {error.strerror}") from error


class _Document(msgspec.Struct):
    version: int
    salt: str
    findings: list[dict[str, Any]]
