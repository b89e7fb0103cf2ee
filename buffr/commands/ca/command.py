"""``buffr ca``: print the CA, made when there is none, and say how to trust it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from buffr.commands.ca import formats
from buffr.commands.ca.hints import DEFAULT_PASSWORD, Places, hint_text, list_text
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.commands.parser import Parser, one_of
from buffr.config import Config, load
from buffr.errors import ConfigError
from buffr.tls.authority import Authority

__all__ = ["ca_paths", "declare", "run"]

_BINARY = ("der", "p12")
_FORMATS = ("pem", *_BINARY, "bundle")


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Prints the certificate of buffr's own CA, and makes the CA if there is none. Its files "
        "are buffr-ca.pem and buffr-ca.key in the data directory, or those that BUFFR_CA_CERT "
        "and BUFFR_CA_KEY name.",
        examples=(
            ("buffr ca > buffr-ca.pem", "the certificate, for clients that take a file"),
            ('eval "$(buffr ca --install-hint curl)"', "make curl in this shell trust it"),
            ("buffr ca --format p12 > buffr-ca.p12", "a trust store for Java"),
        ),
        check=_check,
    )
    parser.flag(
        "-f",
        "--format",
        default="pem",
        type=one_of(*_FORMATS),
        metavar="FORMAT",
        help="pem, der, p12 (Java) or bundle (the system's roots and this one) [pem]",
    )
    parser.flag(
        "-i",
        "--install-hint",
        metavar="CLIENT",
        help="print how a client trusts it; `list` prints the clients",
    )
    parser.flag(
        "--password",
        default=DEFAULT_PASSWORD,
        metavar="WORD",
        help=f"password of a p12, which holds no secret [{DEFAULT_PASSWORD}]",
    )
    parser.flag("--cert", metavar="FILE", help="certificate of the CA [BUFFR_CA_CERT]")
    parser.flag("--key", metavar="FILE", help="key of the CA [BUFFR_CA_KEY]")
    parser.flag(
        "--data-dir", metavar="DIR", help="directory of both unless named [BUFFR_DATA_DIR, or .]"
    )
    parser.flag(
        "-c",
        "--config",
        metavar="FILE",
        help="settings file that says where they are [BUFFR_CONFIG]",
    )
    parser.flag(
        "--fingerprint", action="store_true", help="print the SHA-256 of the certificate instead"
    )


@frozen
class _Output:
    """What goes to standard output, and what is said beside it on standard error."""

    data: bytes
    notes: tuple[str, ...] = ()


def _check(given: argparse.Namespace) -> None:
    if not given.password:
        given.parser.error("--password: must not be empty; Java reads no store without one")


def run(given: argparse.Namespace) -> int:
    """Run the command; the process's exit code."""
    output = _output(given, os.environ, datetime.now(UTC))
    for note in output.notes:
        sys.stderr.write(f"buffr: {note}\n")
    sys.stdout.buffer.write(output.data)
    return 0


def ca_paths(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where the CA's certificate and key are: flags over environment over file over defaults.

    Raises ``ConfigError`` for a settings' file that cannot be used.
    """
    file = given.config or environ.get("BUFFR_CONFIG")
    data_dir = given.data_dir or environ.get("BUFFR_DATA_DIR")
    if file:
        settings = load(Path(file), environ, {"data_dir": data_dir} if data_dir else {})
    else:
        settings = Config(data_dir=Path(data_dir or "."))
    cert = given.cert or environ.get("BUFFR_CA_CERT") or settings.ca_cert
    key = given.key or environ.get("BUFFR_CA_KEY") or settings.ca_key
    return Path(cert), Path(key)


def _output(given: argparse.Namespace, environ: Mapping[str, str], now: datetime) -> _Output:
    if given.install_hint == "list":
        return _Output(list_text().encode())
    if given.format in _BINARY and not given.install_hint and sys.stdout.isatty():
        raise ConfigError(
            f"{given.format} is binary, and no terminal shows it",
            hint=f"send it to a file: buffr ca --format {given.format} > FILE",
        )
    cert_path, key_path = ca_paths(given, environ)
    hint = None
    if given.install_hint:
        places = Places.beside(cert_path, _given(given), given.password)
        hint = hint_text(given.install_hint, places).encode()
    authority = Authority.load_or_create(cert_path, key_path, now)
    made = (f"made {cert_path}; its key, {key_path}, is for nobody else",)
    notes = made if authority.created else ()
    if hint is not None:
        return _Output(hint, notes)
    if given.fingerprint:
        return _Output(f"{authority.fingerprint}\n".encode(), notes)
    output = _formatted(authority, given, environ)
    return _Output(output.data, notes + output.notes)


def _formatted(
    authority: Authority, given: argparse.Namespace, environ: Mapping[str, str]
) -> _Output:
    match given.format:
        case "der":
            return _Output(formats.der(authority))
        case "p12":
            return _Output(formats.p12(authority, given.password))
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


def _given(given: argparse.Namespace) -> list[str]:
    """The flags that say where the CA is, for a hint's own calls of ``buffr ca``."""
    return [
        part
        for name in ("config", "data_dir", "cert", "key")
        if getattr(given, name)
        for part in (f"--{name.replace('_', '-')}", os.path.abspath(getattr(given, name)))  # noqa: PTH100  # keeps links
    ]
