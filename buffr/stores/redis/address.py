"""The address of a Redis or Valkey server, as it is written in ``store``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from attrs import field, frozen

__all__ = ["FORMS", "OnStoreError", "RedisAddress"]

OnStoreError = Literal["upstream", "refuse", "local"]
"""What answers while a server cannot be asked.

The upstream, as if nothing were stored; an error; or the copies that this
process has, and the upstream for the rest.
"""

FORMS = (
    "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… for TLS, "
    "redis+sentinel://HOST[:PORT][,…]/SERVICE[/DB] or redis+unix:///PATH"
)
_SCHEMES = frozenset(("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+unix"))
_PORT = 6379
_SENTINEL_PORT = 26379
_MOST_DBS = 1 << 16
_PREFIX = "buffr"


@frozen
class RedisAddress:
    """Where a server is, and how to log in.

    ``nodes`` are hosts and ports: one server, or with ``service`` the
    Sentinels that know the master of that name. ``path`` is a UNIX socket
    instead. ``prefix`` begins the name of every key. ``ca_file`` holds the
    certificates (PEM) to trust instead of the system's.
    """

    nodes: tuple[tuple[str, int], ...] = ()
    path: Path | None = None
    tls: bool = False
    service: str = ""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    prefix: str = _PREFIX
    ca_file: Path | None = None

    @classmethod
    def parse(cls, text: str) -> RedisAddress:
        """The address in a URL. Raises ``ValueError`` that names the wrong part, never a secret."""
        parts = urlsplit(text)
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"the scheme must be one of {', '.join(sorted(_SCHEMES))}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        ca_file = options.pop("ca_file", "")
        prefix = options.pop("prefix", _PREFIX)
        if not prefix or not prefix.isprintable():
            raise ValueError("prefix must be a name")
        db = options.pop("db", "") if parts.scheme == "redis+unix" else ""
        if options:
            raise ValueError(f"{min(options)} is not an option of a Redis URL")
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        segments = [unquote(one) for one in parts.path.split("/")[1:] if one]
        service, path = "", None
        nodes: tuple[tuple[str, int], ...] = ()
        if parts.scheme == "redis+unix":
            if hosts or not segments:
                raise ValueError("redis+unix:///PATH names a socket")
            path = Path(unquote(parts.path))
        elif parts.scheme.endswith("+sentinel"):
            if not segments:
                raise ValueError("redis+sentinel://HOST/SERVICE names the master's service")
            service, *segments = segments
            nodes = tuple(_node(each, _SENTINEL_PORT) for each in hosts.split(","))
        else:
            nodes = (_node(hosts, _PORT),)
        if path is None:
            if len(segments) > 1:
                raise ValueError("one number may follow the host: that of the database")
            db = segments[0] if segments else ""
        return cls(
            nodes=nodes,
            path=path,
            tls=parts.scheme.startswith("rediss"),
            service=service,
            db=_database(db),
            username=unquote(username),
            password=unquote(password),
            prefix=prefix,
            ca_file=Path(ca_file) if ca_file else None,
        )

    @property
    def url(self) -> str:
        """The whole address, with its secret."""
        return self._written(secret=True)

    def __str__(self) -> str:
        """For people: without the password."""
        return self._written(secret=False)

    def _written(self, *, secret: bool) -> str:
        login = quote(self.username, safe="")
        if self.password:
            login += ":" + (quote(self.password, safe="") if secret else "***")
        where = f"{login}@" if login else ""
        options = {} if self.prefix == _PREFIX else {"prefix": self.prefix}
        if self.ca_file is not None:
            options["ca_file"] = str(self.ca_file)
        if self.path is not None:
            options |= {"db": str(self.db)} if self.db else {}
            text = f"redis+unix://{where}{self.path}"
        else:
            port = _SENTINEL_PORT if self.service else _PORT
            hosts = ",".join(_shown(host, own, port) for host, own in self.nodes)
            scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
            text = f"{scheme}://{where}{hosts}"
            text += f"/{quote(self.service, safe='')}" if self.service else ""
            text += f"/{self.db}" if self.db else ""
        return text + (f"?{urlencode(options)}" if options else "")


def _shown(host: str, port: int, usual: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"


def _node(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        chosen = parts.port
    except ValueError:
        raise ValueError("a port must be a number up to 65535") from None
    if not parts.hostname or parts.username is not None:
        raise ValueError("a host is missing")
    return parts.hostname, port if chosen is None else chosen


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) < _MOST_DBS):
        raise ValueError("the database must be a number")
    return int(text)
