"""The entry point of ``buffr`` and ``python -m buffr``.

Nothing is imported here before Ctrl-C has its handler: it may come at any
time, in the middle of an import too, where Python would show a traceback.
"""

from __future__ import annotations

import os
import signal

__all__ = ["main"]

_INTERRUPTED = 130
"""What shells call a process that SIGINT ended: 128 and the signal's number."""


def main() -> None:
    """Run the ``buffr`` command."""
    # One that is ignored, as a shell does for jobs in the background, stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from buffr.commands.cli import main as command  # noqa: PLC0415  # see above

    command()


def _leave(*_: object) -> None:
    """End at once, whatever is being imported: nothing has been begun yet."""
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
