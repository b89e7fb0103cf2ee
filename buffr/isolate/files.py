"""The files that are others inside: who is trusted, and where names come from.

Each is a file of ours that is mounted over the system's, for the command alone.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen
from cryptography import x509

from buffr.isolate.nss import write_database
from buffr.isolate.plan import Mount

__all__ = ["ENGINES", "Files", "Hosts", "engine_sockets"]

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/ssl/cert.pem",  # Alpine, OpenSSL's own place
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
)
_JAVA = ("/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts")
_JAVA_INSIDE = ("lib/security/cacerts", "jre/lib/security/cacerts")
_JAVA_HOMES = ("/usr/lib/jvm", "/opt", "/usr/java")
_DAEMONS = (
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
    "/run/avahi-daemon/socket",
)
"""Sockets of daemons that look names up, in the host's network."""
_BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "brave-browser"),
)
_DOWNLOADED_BROWSERS = (".cache/ms-playwright", ".cache/puppeteer")
_NSS = ".pki/nssdb"

ENGINES = ("/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
"""Sockets of container engines, whose containers have the host's network."""


@frozen
class Hosts:
    """What of the system's file of hosts holds inside.

    ``kept`` are its lines for the loopback: such a name is the command's own
    there, too. Names of other machines are looked up as all others are;
    ``elsewhere`` has them, since some have no dot.
    """

    kept: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Hosts:
        """Read the text of a file of hosts."""
        kept, elsewhere = [], []
        for line in text.splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if address.startswith("127.") or address == "::1":
                kept.append(" ".join((address, *names)))
            else:
                elsewhere += names
        return cls(tuple(kept), tuple(elsewhere))

    def text(self, own_name: str) -> str:
        """The file for inside."""
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *self.kept]
        if not any(own_name in line.split() for line in lines):
            lines.append(f"127.0.1.1 {own_name}")
        return "".join(f"{line}\n" for line in lines)


@frozen
class Files:
    """Where the files are that are made for inside, and what they are mounted over.

    ``bundle`` and ``java`` are made by others before the command starts.
    """

    directory: Path
    bundle: Path
    java: Path
    hosts: Hosts
    database_over: Path | None

    @classmethod
    def within(cls, directory: Path, bundle: Path, java: Path, environ: Mapping[str, str]) -> Files:
        """Plan them in a directory."""
        return cls(directory, bundle, java, Hosts.of(_text("/etc/hosts")), _database_place(environ))

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What is mounted over what."""
        made = [
            (self.directory / "hosts", "/etc/hosts"),
            (self.directory / "resolv.conf", "/etc/resolv.conf"),
            (self.directory / "nsswitch.conf", "/etc/nsswitch.conf"),
            *((Path(os.devnull), place) for place in _DAEMONS),
            *((self.bundle, place) for place in _BUNDLES),
            *((self.java, place) for place in _java_stores()),
        ]
        if self.database_over is not None:
            made.append((self.directory / "nssdb", str(self.database_over)))
        return tuple(_over_existing(made))

    def write(self) -> None:
        """Write those that are the same whatever the certificates. Raises ``OSError``."""
        name = socket.gethostname()
        switches = _switches(_text("/etc/nsswitch.conf"))
        for file, text in (
            ("hosts", self.hosts.text(name)),
            ("resolv.conf", "nameserver 127.0.0.1\n"),
            ("nsswitch.conf", switches),
        ):
            place = self.directory / file
            place.write_text(text)
            place.chmod(0o644)
        if self.database_over is not None:
            (self.directory / "nssdb").mkdir(mode=0o700)

    def trust(self, certificates: tuple[x509.Certificate, ...]) -> None:
        """Write what browsers trust. Raises ``OSError``."""
        if self.database_over is not None:
            write_database(self.directory / "nssdb", certificates)


def _over_existing(pairs: Iterable[tuple[Path, str]]) -> Iterator[Mount]:
    """A mount for each target that is there; one for several names of the same file."""
    seen = set()
    for source, place in pairs:
        try:
            target = Path(place).resolve(strict=True)
        except OSError:
            continue
        if target not in seen:
            seen.add(target)
            yield Mount(source, target)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _switches(text: str) -> str:
    """Where names of all kinds come from: as outside, but hosts from the file and from DNS."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("hosts:")]
    return "".join(f"{line}\n" for line in [*kept, "hosts: files dns"])


def _java_stores() -> Iterator[str]:
    """The trust stores of the Javas that can be found."""
    yield from _JAVA
    java = shutil.which("java")
    homes = [Path(java).resolve().parents[1]] if java else []
    homes += [Path(home) for home in (os.environ.get("JAVA_HOME"),) if home]
    for above in _JAVA_HOMES:
        if Path(above).is_dir():
            homes += sorted(Path(above).iterdir())
    for home in homes:
        yield from (str(home / inside) for inside in _JAVA_INSIDE)


def _database_place(environ: Mapping[str, str]) -> Path | None:
    """The user's database for browsers, if there is one, or a browser that would make it.

    It has to be there for ours to be mounted over it: an empty directory, as
    a browser makes it.
    """
    home = environ.get("HOME")
    if not home:
        return None
    place = Path(home, _NSS)
    try:
        if not place.is_dir() and _has_browser(Path(home)):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place if place.is_dir() else None
    except OSError:  # a home that is not the user's
        return None


def _has_browser(home: Path) -> bool:
    return any(map(shutil.which, _BROWSERS)) or any(
        (home / place).is_dir() for place in _DOWNLOADED_BROWSERS
    )


def engine_sockets() -> list[str]:
    """The sockets of container engines that this user may use."""
    return [place for place in ENGINES if os.access(place, os.W_OK)]
