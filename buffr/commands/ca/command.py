"""``buffr ca``: print the CA, made when there is none, and say how to trust it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen
from twisted.python import usage

from buffr import __version__
from buffr.commands.ca import formats
from buffr.commands.ca.guide import DEFAULT_PASSWORD, Places, hint_text, list_text
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.commands.terminal import complain
from buffr.config import Config, load
from buffr.errors import BuffrError, ConfigError
from buffr.tls.authority import Authority

__all__ = ["CaOptions", "ca", "ca_paths"]

_BINARY = ("der", "p12")
_FORMATS = ("pem", *_BINARY, "bundle")


class CaOptions(usage.Options):
    """What ``buffr ca`` takes."""

    synopsis = "Usage: buffr ca [options]"
    longdesc = (
        "Prints the certificate of buffr's own CA, and makes the CA when there is none. "
        "Its files are buffr-ca.pem and buffr-ca.key in the data directory, or what "
        "BUFFR_CA_CERT and BUFFR_CA_KEY name."
    )
    optParameters = [  # noqa: RUF012  # Twisted's name and kind
        ["format", "f", "pem", "pem, der, p12 (Java) or bundle (the system's roots and ours)."],
        ["install-hint", "i", None, "Print how a client trusts it; `list` says for which ones."],
        ["password", None, DEFAULT_PASSWORD, "The password of a p12, which holds no secret."],
        ["cert", None, None, "The CA's certificate. [BUFFR_CA_CERT]"],
        ["key", None, None, "The CA's key. [BUFFR_CA_KEY]"],
        ["data-dir", None, None, "Where they are unless named. [BUFFR_DATA_DIR, or .]"],
        ["config", "c", None, "A settings' file that says where they are. [BUFFR_CONFIG]"],
    ]
    optFlags = [  # noqa: RUF012
        ["fingerprint", None, "Print the certificate's SHA-256 instead."],
    ]

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *rest: str) -> None:
        """Take no arguments beside the options."""
        if rest:
            raise usage.UsageError(f"ca takes no argument {rest[0]!r}")

    def postOptions(self) -> None:
        """Say what is wrong before anything is made."""
        if self["format"] not in _FORMATS:
            raise usage.UsageError(
                f"--format: {self['format']!r} is none; must be {', '.join(_FORMATS)}"
            )
        if not self["password"]:
            raise usage.UsageError("--password: is empty; Java reads no store without one")


@frozen
class _Output:
    """What goes to standard output, and what is said beside it on standard error."""

    data: bytes
    notes: tuple[str, ...] = ()


def ca(arguments: Sequence[str]) -> int:
    """Run the command; the process's exit code."""
    options = CaOptions()
    try:
        options.parseOptions(list(arguments))
        output = _output(options, os.environ, datetime.now(UTC))
    except (usage.UsageError, BuffrError) as error:
        return _failed(str(error))
    for note in output.notes:
        sys.stderr.write(f"buffr: {note}\n")
    sys.stdout.buffer.write(output.data)
    return 0


def ca_paths(options: Mapping[str, str | None], environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where the CA's certificate and key are: flags over environment over file over defaults.

    Raises ``ConfigError`` for a settings' file that cannot be used.
    """
    file = options["config"] or environ.get("BUFFR_CONFIG")
    data_dir = options["data-dir"] or environ.get("BUFFR_DATA_DIR")
    if file:
        settings = load(Path(file), environ, {"data_dir": data_dir} if data_dir else {})
    else:
        settings = Config(data_dir=Path(data_dir or "."))
    cert = options["cert"] or environ.get("BUFFR_CA_CERT") or settings.ca_cert
    key = options["key"] or environ.get("BUFFR_CA_KEY") or settings.ca_key
    return Path(cert), Path(key)


def _output(options: CaOptions, environ: Mapping[str, str], now: datetime) -> _Output:
    if options["install-hint"] == "list":
        return _Output(list_text().encode())
    if options["format"] in _BINARY and not options["install-hint"] and sys.stdout.isatty():
        raise ConfigError(
            f"{options['format']} is binary, and no terminal shows it",
            hint=f"send it to a file: buffr ca --format {options['format']} > FILE",
        )
    cert_path, key_path = ca_paths(options, environ)
    hint = None
    if options["install-hint"]:
        places = Places.beside(cert_path, _given(options), options["password"])
        hint = hint_text(options["install-hint"], places).encode()
    authority = Authority.load_or_create(cert_path, key_path, now)
    made = (f"made {cert_path}; its key, {key_path}, is for nobody else",)
    notes = made if authority.created else ()
    if hint is not None:
        return _Output(hint, notes)
    if options["fingerprint"]:
        return _Output(f"{authority.fingerprint}\n".encode(), notes)
    output = _formatted(authority, options, environ)
    return _Output(output.data, notes + output.notes)


def _formatted(authority: Authority, options: CaOptions, environ: Mapping[str, str]) -> _Output:
    match options["format"]:
        case "der":
            return _Output(formats.der(authority))
        case "p12":
            return _Output(formats.p12(authority, options["password"]))
        case "bundle":
            return _bundle(authority, environ)
        case _:
            return _Output(authority.pem)


def _bundle(authority: Authority, environ: Mapping[str, str]) -> _Output:
    """The system's roots, ours, and what ``SSL_CERT_FILE`` names: the bundle takes its place."""
    certifi = certifi_file()
    roots = find_roots([*system_places(), *([certifi] if certifi else [])])
    note = f"the system has no root certificates; those of certifi are used: {certifi}"
    named = environ.get("SSL_CERT_FILE")
    own = tuple(certificates_in(Path(named))) if named else ()
    return _Output(
        formats.bundle(authority, roots.certificates + own),
        (note,) if roots.source == certifi else (),
    )


def _given(options: CaOptions) -> list[str]:
    """The flags that say where the CA is, for a hint's own calls of ``buffr ca``."""
    return [
        part
        for name in ("config", "data-dir", "cert", "key")
        if options[name]
        for part in (f"--{name}", os.path.abspath(options[name]))  # noqa: PTH100  # keeps links
    ]


def _failed(message: str) -> int:
    complain(message)
    return 1
