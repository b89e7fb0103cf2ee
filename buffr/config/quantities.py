"""Kinds of values that are numbers: counts, sizes, times, ports, permissions."""

from __future__ import annotations

import re

from buffr.config.schema import Kind, Refused
from buffr.config.yaml_text import Scalar

__all__ = ["FILE_MODE", "PORT", "duration", "size", "whole"]

# 18 digits: as much as int() reads at once and a C program counts.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL = r"(?P<number>(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(_DECIMAL + r" ?(?P<unit>ms|s|m|h|d|)")
_SIZE = re.compile(_DECIMAL + r" ?(?P<unit>[kmgt]i?b|b|)", re.IGNORECASE)

_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 3650 * 86400.0
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_LARGEST_BYTES = 2**40


def whole(minimum: int, maximum: int, *, besides: str = "") -> Kind[int]:
    """A whole number between two bounds, which are allowed themselves."""

    def parse(scalar: Scalar) -> int:
        if not _WHOLE.fullmatch(scalar.text) or not minimum <= int(scalar.text) <= maximum:
            raise Refused
        return int(scalar.text)

    return Kind(f"a whole number from {minimum} to {maximum}{besides}", parse)


def size(minimum: int = 0, maximum: int = _LARGEST_BYTES) -> Kind[int]:
    """A size in bytes."""

    def parse(scalar: Scalar) -> int:
        match = _SIZE.fullmatch(scalar.text)
        if match is None:
            raise Refused
        size_bytes = float(match["number"]) * _BYTES[match["unit"].lower()]
        if not size_bytes.is_integer() or not minimum <= size_bytes <= maximum:
            raise Refused
        return int(size_bytes)

    allowed = f"from {_show_size(minimum)} to {_show_size(maximum)}"
    return Kind(f"a size in bytes, or like 64KiB, 1MiB, 10MB, {allowed}", parse, _show_size)


def _show_size(size_bytes: int) -> str:
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def duration(*, zero: str = "") -> Kind[float]:
    """A time in seconds. ``zero`` says what 0 means; without it, 0 is refused."""

    def parse(scalar: Scalar) -> float:
        match = _DURATION.fullmatch(scalar.text)
        if match is None:
            raise Refused
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
        if seconds > _LONGEST_S or (seconds == 0 and not zero):
            raise Refused
        return seconds

    least = f"0 ({zero})" if zero else "more than 0"
    allowed = f"seconds, or like 500ms, 30s, 10m, 12h, 30d, {least}, at most 3650d"
    return Kind(allowed, parse, _show_duration)


def _show_duration(seconds: float) -> str:
    return f"{seconds:g}s"


_OCTAL = re.compile(r"(?:0o?)?([0-7]{3})")


def _parse_file_mode(scalar: Scalar) -> int:
    match = _OCTAL.fullmatch(scalar.text)
    bits = int(match[1], 8) if match else 0
    if bits & 0o600 != 0o600 or bits & ~0o666:
        raise Refused
    return bits


def _show_file_mode(bits: int) -> str:
    return f"{bits:04o}"


PORT = whole(0, 65535, besides=" (0 takes a free port)")
FILE_MODE = Kind(
    "three octal digits like 0600, readable and writable for the owner, executable for nobody",
    _parse_file_mode,
    _show_file_mode,
)
