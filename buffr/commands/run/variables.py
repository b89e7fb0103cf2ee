"""The variables of a command's environment that lead it through the proxy: the one table.

``docs/how-to/run.md`` has it too; ``python -m buffr.commands.run.variables`` prints it.
"""

from __future__ import annotations

import sys

from attrs import frozen

__all__ = ["ADDED", "BUNDLE", "PROXY", "VARIABLES", "Variable", "table"]

PROXY = "the proxy's URL"
BUNDLE = "the bundle"
"""Takes the place of a client's own roots."""
ADDED = "buffr's CA"
"""Stands beside a client's own roots."""


@frozen
class Variable:
    """What a variable is set to, and whom it is for."""

    name: str
    value: str
    why: str


VARIABLES = (
    Variable("HTTP_PROXY", PROXY, "plain HTTP: Go, Node, .NET, Python"),
    Variable("http_proxy", PROXY, "plain HTTP: curl, wget, Ruby, which know lower case only"),
    Variable("HTTPS_PROXY", PROXY, "HTTPS, by CONNECT: nearly all clients"),
    Variable("https_proxy", PROXY, "HTTPS, for those that know lower case only: wget"),
    Variable("ALL_PROXY", PROXY, "every scheme without a variable of its own: curl, git, httpx"),
    Variable("all_proxy", PROXY, "the same, where lower case wins"),
    Variable("WS_PROXY", PROXY, "WebSocket: aiohttp"),
    Variable("WSS_PROXY", PROXY, "WebSocket over TLS: aiohttp"),
    Variable("NODE_USE_ENV_PROXY", "1", "Node: fetch, http and https read the above (22.21, 24.5)"),
    Variable("SSL_CERT_FILE", BUNDLE, "OpenSSL: Python's ssl, httpx, aiohttp, Ruby, Go, .NET"),
    Variable("REQUESTS_CA_BUNDLE", BUNDLE, "Python: requests, which has roots of its own"),
    Variable("CURL_CA_BUNDLE", BUNDLE, "curl, and what runs it"),
    Variable("GIT_SSL_CAINFO", BUNDLE, "git, which gives libcurl a file itself"),
    Variable("AWS_CA_BUNDLE", BUNDLE, "the AWS CLI, boto3"),
    Variable("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", BUNDLE, "gRPC's C core, which has roots in it"),
    Variable("PIP_CERT", BUNDLE, "pip, which has roots of its own"),
    Variable("npm_config_cafile", BUNDLE, "npm, where its settings name another file"),
    Variable("CARGO_HTTP_CAINFO", BUNDLE, "cargo"),
    Variable("HTTPLIB2_CA_CERTS", BUNDLE, "Python: httplib2, Google's API client"),
    Variable("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", BUNDLE, "gcloud"),
    Variable("PERL_LWP_SSL_CA_FILE", BUNDLE, "Perl: LWP, which takes Mozilla::CA"),
    Variable("BUNDLE_SSL_CA_CERT", BUNDLE, "Ruby: bundler"),
    Variable("NIX_SSL_CERT_FILE", BUNDLE, "Nix, and OpenSSL as Nix builds it"),
    Variable("WGETRC", "the user's own, and the bundle", "wget, which has no variable for roots"),
    Variable(
        "APT_CONFIG", "the user's own, and the bundle", "apt, which has no variable for roots"
    ),
    Variable("NODE_EXTRA_CA_CERTS", ADDED, "Node, npm, Bun: beside the roots in them"),
    Variable("DENO_CERT", ADDED, "Deno: beside the roots in it"),
    Variable(
        "JAVA_TOOL_OPTIONS",
        "what it holds, then proxy and trust store",
        "every JVM: it reads none of the above",
    ),
)


def table() -> str:
    """All variables in Markdown."""
    rows = (f"| `{one.name}` | {one.value} | {one.why} |\n" for one in VARIABLES)
    return "| Variable | Is set to | For |\n| --- | --- | --- |\n" + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(table())
