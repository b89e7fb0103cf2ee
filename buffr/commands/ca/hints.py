"""How to make each kind of client trust buffr's CA: the one table.

The command's hints, ``ca/README.md`` and ``docs/certificates.md`` are generated from
it. Lines are for a POSIX shell; ``{ca}`` stands for the ``buffr ca`` command,
``{pem}``, ``{bundle}`` and ``{p12}`` for files, ``{password}`` for the
password of the last.

Most variables name a store that replaces the client's own, so they
get the bundle: the system's roots and buffr's CA, so that hosts that buffr tunnels without
interception are still verified.

``python -m buffr.commands.ca.hints`` writes the table of the documentation.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from buffr.errors import ConfigError

__all__ = ["DEFAULT_PASSWORD", "HINTS", "Hint", "Places", "hint_text", "list_text", "table"]

DEFAULT_PASSWORD = "changeit"  # noqa: S105  # it guards what is public: Java asks for one
_WIDTH = 88


@frozen
class Hint:
    """What to do for one kind of client. ``runtime`` is its name on the command line."""

    runtime: str
    client: str
    lines: tuple[str, ...]
    note: str


_BUNDLE = "{ca} --format bundle > {bundle}"
_OPENSSL = (_BUNDLE, "export SSL_CERT_FILE={bundle}")
_JAVA = (
    'export JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore={p12} '
    "-Djavax.net.ssl.trustStoreType=PKCS12 "
    '-Djavax.net.ssl.trustStorePassword={password}"'
)
_DOCKER = (
    "docker run -v {pem}:/buffr/ca.pem:ro -v {bundle}:/buffr/bundle.pem:ro "
    "-e SSL_CERT_FILE=/buffr/bundle.pem -e REQUESTS_CA_BUNDLE=/buffr/bundle.pem "
    "-e NODE_EXTRA_CA_CERTS=/buffr/ca.pem IMAGE"
)
_MACOS = (
    "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {pem}"
)

_NSS_MADE = (
    "if ! test -e ~/.pki/nssdb/cert9.db; "
    "then certutil -N -d sql:$HOME/.pki/nssdb --empty-password; fi"
)

HINTS = (
    Hint(
        "curl",
        "curl, libcurl",
        (_BUNDLE, "export CURL_CA_BUNDLE={bundle}"),
        "For one call: `curl --cacert {pem}`. A curl that uses the platform's TLS "
        "(Windows) reads the platform's store.",
    ),
    Hint(
        "wget",
        "wget",
        (_BUNDLE, "echo ca_certificate={bundle} >> ~/.wgetrc"),
        "For one call: `wget --ca-certificate={bundle}`. A wget built with OpenSSL also reads "
        "`SSL_CERT_FILE`.",
    ),
    Hint(
        "requests",
        "Python: requests",
        (_BUNDLE, "export REQUESTS_CA_BUNDLE={bundle}"),
        "Replaces certifi's roots. Not for sessions with `trust_env = False`.",
    ),
    Hint(
        "httpx",
        "Python: httpx, and SDKs built on it",
        _OPENSSL,
        "Replaces certifi's roots. Not for clients with `trust_env=False` or their own `verify`.",
    ),
    Hint(
        "aiohttp",
        "Python: aiohttp, urllib, ssl",
        _OPENSSL,
        "aiohttp uses the environment's proxies only with `ClientSession(trust_env=True)`.",
    ),
    Hint(
        "node",
        "Node.js",
        ("export NODE_EXTRA_CA_CERTS={pem}",),
        "Added to Node's own roots; read when Node starts. With `NODE_USE_ENV_PROXY=1`, fetch and "
        "http(s) use `HTTPS_PROXY` (since 22.21 and 24.5).",
    ),
    Hint(
        "npm",
        "npm; pnpm and yarn 1 read the same variable",
        (_BUNDLE, "export npm_config_cafile={bundle}"),
        "Replaces Node's roots. Permanently: `npm config set cafile {bundle}`. For scripts "
        "that npm runs, see node.",
    ),
    Hint(
        "pip",
        "pip",
        (_BUNDLE, "export PIP_CERT={bundle}"),
        "For one call: `pip --cert {bundle} ...`. Permanently: "
        "`pip config set global.cert {bundle}`.",
    ),
    Hint(
        "uv",
        "uv",
        _OPENSSL,
        "Replaces the roots in uv. With the CA in the system's store (debian, alpine, "
        "macos, windows): `export UV_SYSTEM_CERTS=1`.",
    ),
    Hint(
        "poetry",
        "Poetry",
        (_BUNDLE, "export REQUESTS_CA_BUNDLE={bundle} PIP_CERT={bundle}"),
        "For one source: `poetry config certificates.NAME.cert {bundle}`. The second variable is "
        "for pip, if Poetry runs it.",
    ),
    Hint(
        "cargo",
        "Rust: cargo",
        (_BUNDLE, "export CARGO_HTTP_CAINFO={bundle}"),
        "Permanently: `cainfo` under `[http]` in `~/.cargo/config.toml`. For registries over git, "
        "see git, with `net.git-fetch-with-cli = true`.",
    ),
    Hint(
        "go",
        "Go",
        _OPENSSL,
        "On Linux and the BSDs. On macOS and Windows, Go reads the platform's store: see macos.",
    ),
    Hint(
        "java",
        "Java and other JVM languages",
        (
            "{ca} --format p12 --password {password} > {p12}",
            _JAVA,
        ),
        "Replaces Java's own roots. To add to them instead: `keytool -importcert "
        "-noprompt -cacerts -storepass changeit -alias buffr -file {pem}`. Java ignores "
        "`HTTPS_PROXY`: set `-Dhttps.proxyHost` and `-Dhttps.proxyPort`.",
    ),
    Hint(
        "ruby",
        "Ruby: Net::HTTP and libraries built on it",
        _OPENSSL,
        "Not for clients with their own `ca_file`.",
    ),
    Hint(
        "dotnet",
        ".NET: HttpClient",
        _OPENSSL,
        "On Linux. On macOS and Windows, .NET reads the platform's store.",
    ),
    Hint(
        "git",
        "git over HTTPS",
        (_BUNDLE, "export GIT_SSL_CAINFO={bundle}"),
        "For one repository: `git config http.sslCAInfo {bundle}`.",
    ),
    Hint(
        "docker",
        "Docker: programs in a container",
        (
            _BUNDLE,
            _DOCKER,
        ),
        "In your own image: see debian or alpine. For `docker pull` through buffr: see debian, on "
        "the daemon's machine, then restart the daemon.",
    ),
    Hint(
        "debian",
        "Debian, Ubuntu: the whole system",
        (
            "sudo install -m 644 {pem} /usr/local/share/ca-certificates/buffr-ca.crt",
            "sudo update-ca-certificates",
        ),
        "Undo: remove that file, then `sudo update-ca-certificates --fresh`. Not for Firefox, "
        "Chromium, Java, Node and Python clients with their own roots.",
    ),
    Hint(
        "apt",
        "apt over HTTPS",
        (
            _BUNDLE,
            "sudo install -m 644 {bundle} /etc/ssl/buffr-ca-bundle.pem",
            "echo 'Acquire::https::CaInfo \"/etc/ssl/buffr-ca-bundle.pem\";' > 99buffr",
            "sudo install -m 644 99buffr /etc/apt/apt.conf.d/99buffr",
        ),
        "apt reads it as the user `_apt`, so it cannot be in a home directory. With the proxy: "
        "`sudo https_proxy=$https_proxy apt-get update`. Undo: remove the two files.",
    ),
    Hint(
        "alpine",
        "Alpine: the whole system",
        (
            "apk add ca-certificates",
            "install -m 644 {pem} /usr/local/share/ca-certificates/buffr-ca.crt",
            "update-ca-certificates",
        ),
        "Undo: remove that file, then `update-ca-certificates --fresh`.",
    ),
    Hint(
        "macos",
        "macOS: Safari, Chrome, Go, .NET",
        (_MACOS,),
        "Undo: `sudo security remove-trusted-cert -d {pem}`.",
    ),
    Hint(
        "windows",
        "Windows: Edge, Chrome, .NET, curl, anything that uses Windows' store",
        ("certutil -user -addstore Root {pem}",),
        "In a command prompt, with the Windows path of the file; PowerShell: `Import-Certificate "
        "-CertStoreLocation Cert:\\CurrentUser\\Root -FilePath {pem}`. For all users: as "
        "administrator, without `-user`. Undo: in `certmgr.msc`, among the trusted roots.",
    ),
    Hint(
        "chromium",
        "Chromium, Chrome, Brave, Edge on Linux",
        (
            "mkdir -p ~/.pki/nssdb",
            _NSS_MADE,
            "certutil -A -n buffr -t C,, -i {pem} -d sql:$HOME/.pki/nssdb",
        ),
        "certutil is in libnss3-tools. A snap or Flatpak has its own home directory. "
        "Undo: `certutil -D -n buffr -d sql:$HOME/.pki/nssdb`.",
    ),
    Hint(
        "firefox",
        "Firefox",
        ("certutil -A -n buffr -t C,, -i {pem} -d sql:PROFILE",),
        "PROFILE is a directory that `about:profiles` shows; certutil is in libnss3-tools. By "
        "hand: Settings, Privacy & Security, View Certificates, Authorities, Import. "
        "Undo: `certutil -D -n buffr -d sql:PROFILE`.",
    ),
)


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
