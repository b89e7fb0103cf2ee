"""Problems found in settings, a line each, and how such a line shows a value.

The lines end up in terminals and build logs: possible credentials are
masked, and characters unsafe for a terminal are escaped.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["Problems", "did_you_mean", "printable", "shown", "shown_key"]

_SHOWN_LENGTH = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.\-]{1,60}")
_PORT_OR_PASSWORD = re.compile(r"//([^/:@]*):(?![0-9]{1,5}(?:/|$))(?!\*).*", re.DOTALL)


class Problems:
    """Lines that describe problems, in the order they were found.

    An error prevents the start; a warning is logged at startup.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def error(self, at: str, path: str, text: str) -> None:
        self.errors.append(_line(at, path, text))

    def warn(self, at: str, path: str, text: str) -> None:
        self.warnings.append(_line(at, path, text))


def _line(at: str, path: str, text: str) -> str:
    return ": ".join(part for part in (at, path, text) if part)


def printable(text: str) -> str:
    """The text with unprintable characters escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def shown(text: str) -> str:
    """A value in quotes: masked, escaped, in ASCII, and cut when it is long."""
    masked = _masked(text)
    if len(masked) > _SHOWN_LENGTH:
        masked = masked[:_SHOWN_LENGTH] + "..."
    return ascii(masked)


def shown_key(key: str) -> str:
    """A key as it appears in a key path: bare if it is an ordinary word."""
    return key if _PLAIN_KEY.fullmatch(key) else shown(key)


def _masked(text: str) -> str:
    """The text without a URL's user name, password and query.

    It errs on the side of masking: a refused value is often not a URL, precisely
    because of the characters in its password.
    """
    before, mark, after = text.rpartition("@")
    if mark:
        scheme, slashes, _ = before.partition("//")
        text = f"{scheme}{slashes}***@{after}" if slashes else f"***@{after}"
    for sign in "?#":
        head, mark, tail = text.partition(sign)
        text = f"{head}{sign}***" if mark and tail else text
    # https://user:pass,word@host cut at the comma looks like a bad port.
    return _PORT_OR_PASSWORD.sub(r"//\1:***", text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'target'?``, or nothing if no known word is similar."""
    if len(word) > _SHOWN_LENGTH:
        return ""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
