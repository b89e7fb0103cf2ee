"""Forward proxies in processes of their own, origins behind them, and tunnels through them."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme
from attrs import frozen
from bench import interactions
from raw_http import Answer, RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Script, answer

__all__ = [
    "NO_PARENTS",
    "Fields",
    "Proxy",
    "basic",
    "forward_proxy",
    "named",
    "origin_tls",
    "origins_authority",
    "secure_origin",
    "trust_file",
    "wrap",
]

Fields = Sequence[tuple[bytes, bytes]]

NO_PARENTS = {
    spelled: ""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for spelled in (name, name.upper())
}
"""For processes that are to use no proxy of this machine's environment."""


@cache
def origins_authority() -> trustme.CA:
    """Whom all origins of these tests have their certificates from."""
    return trustme.CA()


@cache
def origin_tls(*names: str) -> ssl.SSLContext:
    """The server side of TLS for an origin of these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    origins_authority().issue_cert(*names).configure_cert(context)
    return context


def trust_file(directory: Path) -> Path:
    """A file with the authority of all origins, for buffr's ``ca_file``."""
    path = directory / "origins.pem"
    origins_authority().cert_pem.write_to_path(str(path))
    return path


def named(received: Received) -> bytes:
    """An answer that says where a request arrived, and what it asked for."""
    host = received.header(b"host") or b""
    return answer(b"%b %b%b" % (received.method, host, received.target))


def secure_origin(script: Script = named, *names: str, port: int = 0) -> FakeUpstream:
    """An origin behind TLS, by default one for ``localhost``."""
    return FakeUpstream(script, tls=origin_tls(*(names or ("localhost",))), port=port)


def basic(user: str, password: str) -> tuple[bytes, bytes]:
    """The field with which a client says who it is."""
    return b"Proxy-Authorization", b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def wrap(client: RawClient, context: ssl.SSLContext, name: str | None) -> RawClient:
    """Begin TLS on a connection. Raises ``ssl.SSLError``."""
    client.socket = context.wrap_socket(client.socket, server_hostname=name)
    return client


@frozen
class Proxy:
    """A running forward proxy. Its CA and its cassettes are in ``directory``.

    ``listener`` is its place among the ports of its process.
    """

    process: BuffrProcess
    directory: Path
    listener: int = 0

    @property
    def port(self) -> int:
        return self.process.ports[self.listener]

    def trusting(self) -> ssl.SSLContext:
        """A client that trusts buffr's CA, and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.directory / "buffr-ca.pem")
        return context

    def plain(self) -> RawClient:
        """A connection to the proxy itself."""
        return RawClient(self.port)

    def connect(self, authority: bytes, headers: Fields = ()) -> tuple[Answer, RawClient]:
        """Ask for a tunnel; the answer, and the connection."""
        client = self.plain()
        client.send(request(authority, method=b"CONNECT", headers=headers))
        found = client.answer(b"HEAD")
        return (found, client) if found.status == 200 else (_with_body(found, client), client)

    def opened(self, authority: bytes, headers: Fields = ()) -> RawClient:
        """A tunnel in which nothing has begun."""
        found, client = self.connect(authority, headers)
        assert found.status == 200, found
        return client

    def refused(self, authority: bytes, headers: Fields = ()) -> Answer:
        """The answer to a CONNECT that comes to nothing."""
        found, client = self.connect(authority, headers)
        client.close()
        assert found.status != 200
        return found

    def tunnel(self, origin: str, headers: Fields = ()) -> RawClient:
        """A connection to ``https://HOST:PORT`` that speaks TLS with buffr."""
        parts = urlsplit(origin)
        authority = parts.netloc if parts.port else f"{parts.netloc}:443"
        client = self.opened(authority.encode(), headers)
        return wrap(client, self.trusting(), parts.hostname)

    def get(self, url: str, *, headers: Fields = (), proxy_headers: Fields = ()) -> Answer:
        """A GET as a client makes it that has this proxy: in a tunnel, or in absolute form."""
        parts = urlsplit(url)
        if parts.scheme == "http":
            with self.plain() as client:
                client.send(request(url.encode(), headers=[*headers, *proxy_headers]))
                return client.answer()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with self.tunnel(f"https://{parts.netloc}", proxy_headers) as client:
            client.send(request(target.encode(), headers=headers))
            return client.answer()

    def recorded(self, cassette: str) -> list[dict[str, Any]]:
        """The exchanges in a cassette."""
        return [one["http"] for one in interactions(self.directory / cassette)]

    def files(self) -> list[str]:
        """Every cassette there is."""
        return sorted(path.name for path in self.directory.glob("*.json"))

    def lines(self, *words: str) -> list[str]:
        """What it has logged so far with all of these words in a line."""
        return [line for line in self.process.output if all(word in line for word in words)]


def _with_body(found: Answer, client: RawClient) -> Answer:
    length = int(found.header(b"content-length") or b"0")
    return Answer(found.head, client.take(length))


@contextmanager
def forward_proxy(
    directory: Path,
    forward: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    listeners: int = 1,
    **settings: Any,
) -> Iterator[Proxy]:
    """Start one on a free port, which trusts the origins of these tests."""
    defaults = {"port": 0, "ca_file": str(trust_file(directory))}
    written = {**settings, "forward": {**defaults, **(forward or {})}}
    (directory / "buffr.yaml").write_text(json.dumps(written))
    with BuffrProcess.run(
        "serve", cwd=directory, env={**NO_PARENTS, **(env or {})}, listeners=listeners
    ) as process:
        yield Proxy(process, directory)
