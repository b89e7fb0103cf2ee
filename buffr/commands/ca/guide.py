"""The table of hints, shown: in a terminal, and in the documentation.

``python -m buffr.commands.ca.guide`` writes the table of the documentation.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from buffr.commands.ca.hints import HINTS, Hint
from buffr.errors import ConfigError

__all__ = ["DEFAULT_PASSWORD", "Places", "hint_text", "list_text", "table"]

DEFAULT_PASSWORD = "changeit"  # noqa: S105  # it guards what is public: Java asks for one
_WIDTH = 88


@frozen
class Places:
    """What the lines of a hint speak of, quoted for a shell."""

    ca: str
    pem: str
    bundle: str
    p12: str
    password: str = DEFAULT_PASSWORD

    @classmethod
    def beside(cls, cert_path: Path, flags: Sequence[str], password: str) -> Places:
        """The files are beside the certificate; ``flags`` are those given to ``buffr ca``."""
        directory = cert_path.absolute().parent
        return cls(
            ca=shlex.join(["buffr", "ca", *flags]),
            pem=shlex.quote(str(cert_path.absolute())),
            bundle=shlex.quote(str(directory / "buffr-ca-bundle.pem")),
            p12=shlex.quote(str(directory / "buffr-ca.p12")),
            password=shlex.quote(password),
        )

    def fill(self, text: str) -> str:
        return text.format(
            ca=self.ca,
            pem=self.pem,
            bundle=self.bundle,
            p12=self.p12,
            password=self.password,
        )


_IN_DOCS = Places(
    ca="buffr ca",
    pem="$PWD/buffr-ca.pem",
    bundle="$PWD/buffr-ca-bundle.pem",
    p12="$PWD/buffr-ca.p12",
)


def hint_text(runtime: str, places: Places) -> str:
    """A hint as lines for a shell, with its words in comments. Raises ``ConfigError``."""
    hint = next((one for one in HINTS if one.runtime == runtime), None)
    if hint is None:
        known = ", ".join(one.runtime for one in HINTS)
        raise ConfigError(f"--install-hint: there is none for {runtime!r}", hint=f"known: {known}")
    said = places.fill(hint.note).replace("`", "'")
    note = textwrap.wrap(said, _WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [f"# {hint.client}", *map(places.fill, hint.lines), *(f"# {line}" for line in note)]
    return "".join(f"{line}\n" for line in lines)


def list_text() -> str:
    """What there are hints for, a line each."""
    return "".join(f"{hint.runtime:<10}{hint.client}\n" for hint in HINTS)


def table() -> str:
    """All hints in Markdown."""
    head = "| `--install-hint` | Client | In a shell | Note |\n| --- | --- | --- | --- |\n"
    return head + "".join(_row(hint) for hint in HINTS)


def _row(hint: Hint) -> str:
    shell = "<br>".join(f"`{_IN_DOCS.fill(line)}`" for line in hint.lines)
    return f"| {hint.runtime} | {hint.client} | {shell} | {_IN_DOCS.fill(hint.note)} |\n"


if __name__ == "__main__":
    sys.stdout.write(table())
