"""What the doctor looks at. Nothing is created, changed or sent to another machine."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from cryptography.hazmat.primitives.serialization import Encoding

from buffr import __version__
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.commands.cassette.arguments import is_cassette
from buffr.commands.cassette.verify import checked
from buffr.commands.run.environment import ADDED, BUNDLE, VARIABLES
from buffr.config import Config
from buffr.config.admin import ADMIN_FILE
from buffr.config.shown import as_data
from buffr.errors import BuffrError, ConfigError
from buffr.tls.authority import Authority

__all__ = ["Check", "authority", "cassettes", "ports", "settings", "versions"]

Verdict = Literal["ok", "warning", "fault"]

_MOST_CASSETTES = 500
_MOST_FAULTS = 20
_ANY = "any free port"
_INSTEAD = "in use, so a free one is taken instead"
_WELL = ("free", _ANY, _INSTEAD)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DISTRIBUTION = "buffr-proxy"


@frozen
class Check:
    """One subject: a verdict, a line about it, further lines, and data for programs."""

    name: str
    verdict: Verdict
    summary: str
    lines: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(factory=dict)


def versions() -> Check:
    """buffr, Python, the system, and the packages that buffr needs."""
    found = {
        "buffr": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "openssl": ssl.OPENSSL_VERSION,
    }
    packages: dict[str, str | None] = {}
    for name in _needed():
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    missing = [name for name, version in packages.items() if version is None]
    listing = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    lines = (f"{found['system']}, {found['openssl']}", listing)
    data = {**found, "packages": packages}
    if missing:
        return Check("versions", "fault", f"not installed: {', '.join(missing)}", lines, data)
    return Check("versions", "ok", f"buffr {__version__}, {found['python']}", lines, data)


def _needed() -> list[str]:
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    names = (_NAME.match(one) for one in required if "extra ==" not in one)
    return sorted(name[0] for name in names if name is not None)


def settings(config: Config, problem: str | None) -> Check:
    """What is set, and where; secrets are masked. ``problem`` is why it cannot be used."""
    if problem is not None:
        return Check("settings", "fault", "they cannot be used", tuple(problem.splitlines()))
    shown, masked = as_data(config)
    given = {key: _at(shown, key) for key in config.sources}
    lines = [f"{key} = {_said(given[key])}  ({at})" for key, at in config.sources.items()]
    lines += config.warnings
    count = f"{len(given)} set" if given else "all defaults"
    where = "no file" if config.file is None else str(config.file)
    data = {
        "file": None if config.file is None else str(config.file.absolute()),
        "data_dir": str(config.data_dir.absolute()),
        "sources": dict(config.sources),
        "configuration": shown,
        "masked": masked,
        "warnings": list(config.warnings),
    }
    verdict: Verdict = "warning" if config.warnings else "ok"
    return Check("settings", verdict, f"{where}; {count}", tuple(lines), data)


def _at(shown: Any, key: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            shown = shown[int(part)] if isinstance(shown, list) else shown[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return shown


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def authority(config: Config, environ: Mapping[str, str], now: datetime) -> Check:
    """The CA, and the places where clients look that have it."""
    cert, key = config.ca_cert, config.ca_key
    places = {"certificate": str(cert), "key": str(key)}
    if not cert.exists() and not key.exists():
        return Check("ca", "ok", f"none yet; {cert} is made when it is needed", (), places)
    try:
        if not (cert.exists() and key.exists() and cert.stat().st_size):
            raise ConfigError(f"{cert} or {key} is missing or empty; `buffr ca` says what to do")
        ours = Authority.load_or_create(cert, key, now)
    except (BuffrError, OSError) as error:
        return Check("ca", "fault", str(error), (), places)
    der = ours.certificate.public_bytes(Encoding.DER)
    trusting, others = list[str](), list[str]()
    for name, files in _stores(environ).items():
        (trusting if any(der in certificates_in(file) for file in files) else others).append(name)
    until = ours.certificate.not_valid_after_utc
    lines = (
        f"SHA-256 {ours.fingerprint}",
        f"trusted by: {', '.join(trusting) or 'none of these'}",
        f"not by: {', '.join(others) or 'none of these'}",
    )
    data = {
        **places,
        "fingerprint": ours.fingerprint,
        "valid_until": until.isoformat(),
        "trusted_by": trusting,
        "not_trusted_by": others,
    }
    return Check("ca", "ok", f"{cert}, valid until {until:%Y-%m-%d}", lines, data)


def _stores(environ: Mapping[str, str]) -> dict[str, list[Path]]:
    """Files of trusted roots, by what uses them: the system, certifi, variables that are set."""
    stores: dict[str, list[Path]] = {}
    try:
        stores["the system"] = [find_roots(system_places()).source]
    except ConfigError:
        stores["the system"] = []
    certifi = certifi_file()
    if certifi is not None:
        stores["certifi"] = [certifi]
    for one in VARIABLES:
        if one.value in (BUNDLE, ADDED) and environ.get(one.name):
            stores[one.name] = [Path(environ[one.name])]
    return stores


def ports(config: Config) -> Check:
    """Whether the configured ports are free, or served by a buffr already."""
    running = _running(config)
    rows: list[dict[str, Any]] = []
    for name, host, port in _listeners(config):
        state = _ANY if port == 0 else _state(host, port)
        rows.append({"name": name, "host": host, "port": port, "state": state})
    admin = config.admin.address
    if admin.enabled:
        state = _ANY if admin.port == 0 else _state(admin.host, admin.port)
        if state == "in use" and not admin.chosen:
            state = _INSTEAD
        rows.append({"name": "admin", "host": admin.host, "port": admin.port, "state": state})
    lines = [f"{one['name']}: {one['host']}:{one['port']}: {one['state']}" for one in rows]
    if running is not None:
        lines.append(f"a buffr has started here: its admin listener is {running}")
    taken = [one for one in rows if one["state"] not in _WELL]
    verdict: Verdict = "warning" if taken and running is None else "ok"
    summary = f"{len(taken)} of {len(rows)} cannot be listened on" if taken else "all can be had"
    return Check("ports", verdict, summary, tuple(lines), {"ports": rows, "running": running})


def _listeners(config: Config) -> Iterator[tuple[str, str, int]]:
    for index, row in enumerate(config.reverse):
        yield f"reverse[{index}]", config.listen, row.port
    if config.gateway is not None:
        yield "gateway", config.listen, config.gateway.port
    if config.forward is not None:
        yield "forward", config.listen, config.forward.port


def _state(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            return "in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
    return "free"


def _running(config: Config) -> str | None:
    """The URL of the admin listener in this data directory; its token is nobody's business."""
    try:
        return str(json.loads((config.data_dir / ADMIN_FILE).read_bytes())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cassettes(config: Config) -> Check:
    """The faults of the cassettes that are named, and of those in the data directory."""
    total, faults = 0, list[str]()
    files = list(islice(_files(config), _MOST_CASSETTES + 1))
    for path in files[:_MOST_CASSETTES]:
        try:
            count, found = checked(path)
        except BuffrError as error:
            count, found = 0, [str(error)]
        total += count
        faults += found
    more = f"; only the first {_MOST_CASSETTES} were read" if len(files) > _MOST_CASSETTES else ""
    summary = f"{len(files)} with {total} interactions, {len(faults) or 'no'} faults{more}"
    data = {"files": [str(one) for one in files], "interactions": total, "faults": faults}
    verdict: Verdict = "fault" if faults else "ok"
    return Check("cassettes", verdict, summary, tuple(faults[:_MOST_FAULTS]), data)


def _files(config: Config) -> Iterable[Path]:
    named = [row.cassette for row in config.reverse]
    if config.gateway is not None:
        named += [row.cassette for row in config.gateway.routes]
    if config.forward is not None:
        named += [row.cassette for row in config.forward.hosts]
    there = [path for path in named if path is not None and path.is_file()]
    beside = (path for path in sorted(config.data_dir.glob("*.json")) if is_cassette(path))
    return dict.fromkeys([*there, *beside])
