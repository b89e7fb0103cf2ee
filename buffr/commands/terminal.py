"""Text for a terminal: coloured, and without control characters."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import floor, log10
from typing import NamedTuple, TextIO

__all__ = ["Paint", "complain", "ends_with_its_reader", "money", "paint_for", "plain", "times"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_LEAST_WITH_FOUR_PLACES = 0.001
_CANNOT_BE_WRITTEN = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF)


class Paint(NamedTuple):
    """Colours, for a terminal."""

    on: bool

    def __call__(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text


def paint_for(stream: TextIO, environ: Mapping[str, str]) -> Paint:
    """Colours if the stream is a terminal and ``NO_COLOR`` is not set."""
    wanted = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Paint(wanted and stream.isatty())


def plain(text: str) -> str:
    """The text with control characters escaped."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def times(count: int, one: str, more: str) -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else more}"


def money(usd: float) -> str:
    """Dollars, with two digits at least: a call may cost less than a hundredth of a cent."""
    if not 0 < usd < _LEAST_WITH_FOUR_PLACES:
        return f"${usd:,.4f}"
    return f"${usd:.{1 - floor(log10(usd))}f}"


def complain(message: str) -> None:
    """Write an error to standard error, each line of the message on its own line."""
    sys.stderr.write("".join(f"buffr: {plain(line)}\n" for line in message.splitlines()))


@contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """Exit with 1, and without a traceback, when standard output cannot be written.

    A reader that closes the pipe (``buffr cassette ls | head``) is not an
    error worth reporting; a full disk or a closed output (``>&-``) is.
    """
    _open_standard_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        if error.errno != errno.EPIPE:
            complain(f"standard output: {error.strerror}")
        # Nothing more is to be flushed at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _open_standard_streams() -> None:
    """Open those that the caller has closed (``>&-``), so that no other file takes their numbers.

    Reading gives nothing, standard error goes nowhere, and standard output,
    which a command is asked for, cannot be written (``EBADF``).
    """
    modes = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)
    for number, (name, mode) in enumerate(zip(("stdin", "stdout", "stderr"), modes, strict=True)):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, mode)  # the lowest number that is free
        os.set_inheritable(opened, True)
        stream = os.fdopen(opened, "w" if number else "r", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
