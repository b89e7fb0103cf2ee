"""The environment of a command that goes through the proxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from buffr.commands.ca.guide import DEFAULT_PASSWORD
from buffr.commands.run.trust_files import TrustFiles
from buffr.commands.run.variables import ADDED, BUNDLE, PROXY, VARIABLES

__all__ = ["child_environment"]


def child_environment(
    environ: Mapping[str, str], scope: str, port: int, files: TrustFiles, key: bytes | None = None
) -> dict[str, str]:
    """The environment of a command: the given one, with the proxy's variables in it.

    ``key`` is that of the proxy, where it asks for one. ``NO_PROXY`` stays as
    it is: what it names is reached directly.
    """
    # Some clients send no user name that stands without a password.
    password = "x" if key is None else quote(key, safe="")
    values = {
        PROXY: f"http://{scope}:{password}@127.0.0.1:{port}",
        BUNDLE: str(files.bundle),
        ADDED: str(files.added),
    }
    ours = {one.name: values.get(one.value, one.value) for one in VARIABLES}
    ours["WGETRC"] = str(files.wgetrc)
    ours["APT_CONFIG"] = str(files.apt_conf)
    options = " ".join(_java_options(environ, port, files.java))
    ours["JAVA_TOOL_OPTIONS"] = f"{environ.get('JAVA_TOOL_OPTIONS', '')} {options}".lstrip()
    return {**environ, **ours}


def _java_options(environ: Mapping[str, str], port: int, store: Path) -> list[str]:
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    properties = {
        "http.proxyHost": "127.0.0.1",
        "http.proxyPort": str(port),
        "https.proxyHost": "127.0.0.1",
        "https.proxyPort": str(port),
        # Java goes to loopback addresses directly, unless this is there and empty.
        "http.nonProxyHosts": _non_proxy_hosts(no_proxy),
        "javax.net.ssl.trustStore": str(store),
        "javax.net.ssl.trustStoreType": "PKCS12",
        "javax.net.ssl.trustStorePassword": DEFAULT_PASSWORD,
    }
    return [_quoted(f"-D{name}={value}") for name, value in properties.items()]


def _quoted(option: str) -> str:
    """An option that the JVM takes for one, whatever is in it."""
    return f'"{option}"' if any(character.isspace() for character in option) else option


def _non_proxy_hosts(no_proxy: str) -> str:
    """``NO_PROXY`` as Java writes it; ranges of addresses and single ports it cannot say."""
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
