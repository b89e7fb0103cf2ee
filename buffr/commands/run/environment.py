"""The environment of a command that goes through the proxy: variables, and the files they name.

``docs/how-to/run.md`` has the table; ``python -m buffr.commands.run.environment`` prints it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
)

from buffr.commands.ca import formats
from buffr.commands.ca.hints import DEFAULT_PASSWORD
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.errors import ConfigError
from buffr.tls.authority import Authority

__all__ = [
    "ADDED",
    "BUNDLE",
    "PROXY",
    "VARIABLES",
    "TrustFiles",
    "Variable",
    "child_environment",
    "table",
    "trusting_environment",
]

PROXY = "the proxy's URL"
BUNDLE = "the bundle"
"""Replaces a client's own roots."""
ADDED = "buffr's CA"
"""Adds to a client's own roots."""


@frozen
class Variable:
    """The value of a variable, and the clients that read it."""

    name: str
    value: str
    why: str


VARIABLES = (
    Variable("HTTP_PROXY", PROXY, "plain HTTP: Go, Node, .NET, Python"),
    Variable("http_proxy", PROXY, "plain HTTP: curl, wget, Ruby, which only read lower case"),
    Variable("HTTPS_PROXY", PROXY, "HTTPS, by CONNECT: nearly all clients"),
    Variable("https_proxy", PROXY, "HTTPS, for clients that only read lower case: wget"),
    Variable("ALL_PROXY", PROXY, "every scheme without its own variable: curl, git, httpx"),
    Variable("all_proxy", PROXY, "the same, if lower case takes precedence"),
    Variable("WS_PROXY", PROXY, "WebSocket: aiohttp"),
    Variable("WSS_PROXY", PROXY, "WebSocket over TLS: aiohttp"),
    Variable("NODE_USE_ENV_PROXY", "1", "Node: fetch, http and https read the above (22.21, 24.5)"),
    Variable("SSL_CERT_FILE", BUNDLE, "OpenSSL: Python's ssl, httpx, aiohttp, Ruby, Go, .NET"),
    Variable("REQUESTS_CA_BUNDLE", BUNDLE, "Python: requests, which has its own roots"),
    Variable("CURL_CA_BUNDLE", BUNDLE, "curl, and programs that run it"),
    Variable("GIT_SSL_CAINFO", BUNDLE, "git, which passes a file to libcurl itself"),
    Variable("AWS_CA_BUNDLE", BUNDLE, "the AWS CLI, boto3"),
    Variable("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE, "gRPC's C core, which has built-in roots"),
    Variable("PIP_CERT", BUNDLE, "pip, which has its own roots"),
    Variable("npm_config_cafile", BUNDLE, "npm, if its settings name another file"),
    Variable("CARGO_HTTP_CAINFO", BUNDLE, "cargo"),
    Variable("HTTPLIB2_CA_CERTS", BUNDLE, "Python: httplib2, Google's API client"),
    Variable("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", BUNDLE, "gcloud"),
    Variable("PERL_LWP_SSL_CA_FILE", BUNDLE, "Perl: LWP, which uses Mozilla::CA"),
    Variable("BUNDLE_SSL_CA_CERT", BUNDLE, "Ruby: bundler"),
    Variable("NIX_SSL_CERT_FILE", BUNDLE, "Nix, and OpenSSL as Nix builds it"),
    Variable("WGETRC", "the user's own, and the bundle", "wget, which has no variable for roots"),
    Variable(
        "APT_CONFIG", "the user's own, and the bundle", "apt, which has no variable for roots"
    ),
    Variable("NODE_EXTRA_CA_CERTS", ADDED, "Node, npm, Bun: added to their built-in roots"),
    Variable("DENO_CERT", ADDED, "Deno: added to its built-in roots"),
    Variable(
        "JAVA_TOOL_OPTIONS",
        "its old value, then proxy and trust store",
        "every JVM, which ignores all of the above",
    ),
)

_OF_PROXY = tuple(
    one for one in VARIABLES if one.value == PROXY or one.name == "NODE_USE_ENV_PROXY"
)


def table() -> str:
    """All variables in Markdown."""
    rows = (f"| `{one.name}` | {one.value} | {one.why} |\n" for one in VARIABLES)
    return "| Variable | Is set to | For |\n| --- | --- | --- |\n" + "".join(rows)


def child_environment(
    environ: Mapping[str, str], scope: str, port: int, files: TrustFiles, key: bytes | None = None
) -> dict[str, str]:
    """The environment of a command: the given one, with the proxy's variables added.

    ``key`` is that of the proxy, where it asks for one. ``NO_PROXY`` stays as
    it is: what it names is reached directly.
    """
    # Some clients send no user name that stands without a password.
    password = "x" if key is None else quote(key, safe="")
    proxy = f"http://{scope}:{password}@127.0.0.1:{port}"
    ours = {one.name: proxy if one.value == PROXY else one.value for one in _OF_PROXY}
    options = _java_proxy(environ, port) | _java_trust(files.java)
    return {**environ, **ours, **_trusting(environ, files, options)}


def trusting_environment(environ: Mapping[str, str], files: TrustFiles) -> dict[str, str]:
    """The environment of a command that trusts buffr's CA, and knows of no proxy.

    For files that were made to be ``in_place``.
    """
    proxies = {one.name for one in _OF_PROXY} | {"NO_PROXY", "no_proxy"}
    kept = {name: value for name, value in environ.items() if name not in proxies}
    options = _java_trust(files.java)
    del options["javax.net.ssl.trustStorePassword"]
    return kept | _trusting(environ, files, options)


def _trusting(
    environ: Mapping[str, str], files: TrustFiles, java: Mapping[str, str]
) -> dict[str, str]:
    values = {BUNDLE: str(files.bundle), ADDED: str(files.added)}
    ours = {one.name: values[one.value] for one in VARIABLES if one.value in values}
    ours["WGETRC"] = str(files.wgetrc)
    ours["APT_CONFIG"] = str(files.apt_conf)
    options = " ".join(_quoted(f"-D{name}={value}") for name, value in java.items())
    ours["JAVA_TOOL_OPTIONS"] = f"{environ.get('JAVA_TOOL_OPTIONS', '')} {options}".lstrip()
    return ours


def _java_proxy(environ: Mapping[str, str], port: int) -> dict[str, str]:
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    return {
        "http.proxyHost": "127.0.0.1",
        "http.proxyPort": str(port),
        "https.proxyHost": "127.0.0.1",
        "https.proxyPort": str(port),
        # Java goes to loopback addresses directly, unless this is there and empty.
        "http.nonProxyHosts": _non_proxy_hosts(no_proxy),
    }


def _java_trust(store: Path) -> dict[str, str]:
    return {
        "javax.net.ssl.trustStore": str(store),
        "javax.net.ssl.trustStoreType": "PKCS12",
        "javax.net.ssl.trustStorePassword": DEFAULT_PASSWORD,
    }


def _quoted(option: str) -> str:
    """Quote an option so that the JVM reads it as one, whatever it contains."""
    return f'"{option}"' if any(character.isspace() for character in option) else option


def _non_proxy_hosts(no_proxy: str) -> str:
    """``NO_PROXY`` in Java's syntax, which has no address ranges and no ports."""
    hosts: list[str] = []
    for entry in no_proxy.replace(",", " ").split():
        name = entry.removeprefix("*.").removeprefix(".")
        if "/" in name or ":" in name:
            continue
        if not entry.startswith("*."):
            hosts.append(name)
        if not name.replace(".", "").isdigit() and name != "*":
            hosts.append(f"*.{name}")
    return "|".join(dict.fromkeys(hosts))


@frozen
class TrustFiles:
    """Where they are.

    ``bundle`` has the system's roots, those that the user's own variables
    name, and ours; ``added`` the last two. ``java`` is the bundle as Java
    takes it; ``wgetrc`` and ``apt_conf`` are the user's own with the bundle
    in them, and for this user alone.
    """

    bundle: Path
    added: Path
    java: Path
    wgetrc: Path
    apt_conf: Path

    @classmethod
    def within(cls, directory: Path) -> TrustFiles:
        """Where they will be in a directory."""
        return cls(
            bundle=directory / "bundle.pem",
            added=directory / "added.pem",
            java=directory / "trust.p12",
            wgetrc=directory / "wgetrc",
            apt_conf=directory / "apt.conf",
        )

    @classmethod
    def write(cls, directory: Path, authority: Authority, environ: Mapping[str, str]) -> TrustFiles:
        """Write them into a directory. Raises ``OSError``."""
        files = cls.within(directory)
        files.fill(authority, environ)
        return files

    def fill(
        self, authority: Authority, environ: Mapping[str, str], *, in_place: bool = False
    ) -> None:
        """Write them. Raises ``OSError``.

        ``in_place`` makes them such that they can take the places of the
        system's files: a Java opens its own store without a password.
        """
        roots = (*_system_roots(), *_named(BUNDLE, environ))
        # apt reads the bundle as a user of its own, who need not see what else is here.
        self.bundle.parent.chmod(0o711)
        self.bundle.write_bytes(formats.bundle(authority, roots))
        self.added.write_bytes(formats.bundle(authority, tuple(_named(ADDED, environ))))
        password = BestAvailableEncryption(DEFAULT_PASSWORD.encode())
        encryption = NoEncryption() if in_place else password
        self.java.write_bytes(_java_store(authority, roots, encryption))
        for public in (self.bundle, self.added, self.java):
            public.chmod(0o644)
        _write_private(self.wgetrc, _wgetrc(environ) + f"ca_certificate = {self.bundle}\n".encode())
        ca_info = f'Acquire::https::CaInfo "{self.bundle}";\n'
        _write_private(self.apt_conf, _contents(environ.get("APT_CONFIG")) + ca_info.encode())


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _system_roots() -> tuple[bytes, ...]:
    """Empty if there are none: then the client had none before, either."""
    certifi = certifi_file()
    try:
        return find_roots([*system_places(), *([certifi] if certifi else [])]).certificates
    except ConfigError:
        return ()


def _named(value: str, environ: Mapping[str, str]) -> Iterator[bytes]:
    """The certificates in the files that variables of one kind have named so far."""
    names = [one.name for one in VARIABLES if one.value == value]
    for path in dict.fromkeys(environ.get(name, "") for name in names):
        if path:
            yield from certificates_in(Path(path))


def _java_store(
    authority: Authority, roots: Iterable[bytes], encryption: KeySerializationEncryption
) -> bytes:
    entries = [
        PKCS12Certificate(one, b"buffr-%d" % number) for number, one in enumerate(authority.trusted)
    ]
    with warnings.catch_warnings():
        # Some roots are older than the rules that cryptography warns of.
        warnings.simplefilter("ignore")
        for number, root in enumerate(dict.fromkeys(roots)):
            try:
                certificate = x509.load_der_x509_certificate(root)
            except ValueError:
                continue
            entries.append(PKCS12Certificate(certificate, b"root-%d" % number))
        return serialize_java_truststore(entries, encryption)


def _wgetrc(environ: Mapping[str, str]) -> bytes:
    return _contents(environ.get("WGETRC") or str(Path(environ.get("HOME", "/"), ".wgetrc")))


def _contents(name: str | None) -> bytes:
    """The user's own settings in a file, up to a line end; empty if there is none."""
    try:
        text = Path(name).read_bytes() if name else b""
    except OSError:
        return b""
    return text if not text or text.endswith(b"\n") else text + b"\n"


if __name__ == "__main__":
    sys.stdout.write(table())
