"""Whether a value is machine-generated, as tokens are, or means something."""

from __future__ import annotations

import re

from buffr.redaction.spans import collapsed

__all__ = ["SHORTEST_MADE_UP", "holds_random", "looks_made_up", "looks_random", "says_nothing"]

SHORTEST_MADE_UP = 16
"""What is shorter is not random, and does not look made up."""

_STRETCH = re.compile(rb"[A-Za-z0-9._~+=:|%%-]{%d,}" % SHORTEST_MADE_UP)
_SEPARATORS = re.compile(rb"[._~+=:|%-]+")

# Words, numbers, dates and file names have letters or digits between their separators; random text
# has both.
_MIXED_RUN_BYTES = 6

_LETTERS = re.compile(rb"[A-Za-z]{20,}")
_CHANGES_OF_CASE = re.compile(rb"[a-z](?=[A-Z])|[A-Z](?=[a-z])")
_SHORTEST_PIN = 4
_NO_SECRETS = frozenset(
    b"""
    true false null none nil undefined yes no on off enabled disabled required optional basic
    bearer digest negotiate ntlm token string password secret text hidden
    """.split()
) | {b""}

# A slash occurs in base64 and in paths: paths rarely have all the other signs and no dot.
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{20,}={0,2}")


def looks_random(value: bytes) -> bool:
    """Whether a value is unlikely to be a word, a path or a name.

    That is 16 bytes or more of the alphabet of tokens, with letters and digits
    in one run of six or more.
    """
    return _STRETCH.fullmatch(value) is not None and _is_mixed(value)


def holds_random(value: bytes) -> bool:
    """Whether any stretch of a value is random; pseudonyms do not count."""
    if len(value) < SHORTEST_MADE_UP:
        return False
    plain = collapsed(value)
    return any(map(_is_mixed, _STRETCH.findall(plain))) or any(
        map(_is_base64, _BASE64.findall(plain))
    )


def looks_made_up(value: bytes) -> bool:
    """Whether a value under a telling name is a secret.

    It is if it contains random text, or is one long run of hexadecimal digits,
    or of letters in a mixed case that no word has.
    """
    return holds_random(value) or any(map(_is_scrambled, _LETTERS.findall(value)))


def _is_scrambled(run: bytes) -> bool:
    changes = len(_CHANGES_OF_CASE.findall(run))
    return changes >= len(run) // 5


def says_nothing(value: bytes) -> bool:
    """Whether a value cannot be a secret: empty, a switch, or a small number."""
    return value.strip().lower() in _NO_SECRETS or (value.isdigit() and len(value) < _SHORTEST_PIN)


def _is_mixed(stretch: bytes) -> bool:
    return any(
        len(run) >= _MIXED_RUN_BYTES and not run.isalpha() and not run.isdigit()
        for run in _SEPARATORS.split(stretch)
    )


def _is_base64(stretch: bytes) -> bool:
    return (
        b"/" in stretch
        and stretch != stretch.lower()
        and stretch != stretch.upper()
        and any(b"0"[0] <= c <= b"9"[0] for c in stretch)
    )
