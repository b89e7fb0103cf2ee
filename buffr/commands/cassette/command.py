"""``buffr cassette COMMAND``: finds the command, and turns what goes wrong into a line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from twisted.python import usage

from buffr.commands.cassette.diff import diff
from buffr.commands.cassette.ls import ls
from buffr.commands.cassette.redact import redact
from buffr.commands.cassette.rm import expire, rm
from buffr.commands.cassette.scan import scan
from buffr.commands.cassette.show import show
from buffr.commands.cassette.stats import stats
from buffr.commands.cassette.verify import verify
from buffr.commands.terminal import complain
from buffr.errors import BuffrError

__all__ = ["cassette"]

_USAGE = """\
Usage: buffr cassette COMMAND [options]

  ls FILE                      list the interactions
  show FILE N                  show interaction N: heads, bodies, frames
  stats FILE                   count them: by host, method, status and size
  scan FILE|DIRECTORY ...      look for secrets, also in HAR and VCR.py files and caches;
                               exits with 1 when there are some
  redact FILE ...              put stand-ins in the place of secrets
  verify FILE|DIRECTORY ...    look for what is torn, missing or changed; exits with 1
  diff FILE FILE               what the second has more, less and different; exits with 1
  rm FILE N|N-M ...            take interactions out
  expire FILE --older-than 30d take out what was recorded before that

Interactions are counted from 0, as in what a miss says. A running buffr may
have the file open: it sees what was taken out, and no recording is lost.
`buffr cassette COMMAND --help` lists a command's options.
"""

_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "ls": ls,
    "show": show,
    "stats": stats,
    "scan": scan,
    "redact": redact,
    "verify": verify,
    "diff": diff,
    "rm": rm,
    "expire": expire,
}


def cassette(arguments: Sequence[str]) -> int:
    """Run a command; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_USAGE)
        return 0 if arguments else 1
    name, *rest = arguments
    command = _COMMANDS.get(name)
    if command is None:
        complain(f"there is no command 'cassette {name}'; `buffr cassette --help` lists them")
        return 1
    # Names of hosts and files may have characters that the terminal has not.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return command(rest)
    except usage.UsageError as error:
        complain(f"cassette {name}: {error}")
    except BuffrError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return 130
    return 1
