"""How commands find the admin listener of a running buffr, and ask it through treq."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from attrs import define

from buffr.commands.parser import Parser
from buffr.errors import BuffrError, ConfigError

__all__ = ["AdminClient", "ask", "declare_where", "print_json", "quoted"]

_LONGEST_ANSWER = 64 << 20
_NOT_THERE = "start one, name its directory with --data-dir, or give --url and --token"


def declare_where(parser: Parser, *, json_flag: bool = True) -> None:
    """Add the flags that say which buffr is asked."""
    parser.flag(
        "--data-dir", metavar="DIR", help="the data directory of the buffr [BUFFR_DATA_DIR, or .]"
    )
    parser.flag("--url", metavar="URL", help="its admin listener, such as http://127.0.0.1:8089")
    parser.flag("--token", metavar="TOKEN", help="the token of its admin listener")
    if json_flag:
        parser.flag("--json", action="store_true", help="print JSON")


def _found(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, str]:
    """The URL and the token of the buffr that is meant. Raises ``ConfigError``."""
    if given.url is not None:
        token = given.token or environ.get("BUFFR_ADMIN_TOKEN", "")
        if urlsplit(given.url).scheme != "http":
            raise ConfigError(f"--url {given.url}: must begin with http://")
        return given.url.rstrip("/"), token
    from buffr.config.admin import ADMIN_FILE  # noqa: PLC0415  # help does without

    directory = Path(given.data_dir or environ.get("BUFFR_DATA_DIR") or ".")
    file = directory / ADMIN_FILE
    try:
        found = json.loads(file.read_bytes())
        return str(found["url"]), given.token or str(found["token"])
    except FileNotFoundError:
        what = f"no buffr is running here: there is no {ADMIN_FILE} in {directory.absolute()}"
        raise ConfigError(what, hint=_NOT_THERE) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}", hint=_NOT_THERE) from None


@define(eq=False)
class AdminClient:
    """Asks an admin listener. All methods raise ``BuffrError`` with what it says is wrong."""

    url: str
    token: str
    http: Any

    async def get(self, path: str, **query: object) -> Any:
        """The JSON of a page."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return await self.call("GET", f"{path}?{urlencode(given)}" if given else path)

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer; ``None`` if it has no body."""
        response = await self.open(method, path, body)
        text = await response.content()
        data = json.loads(text) if text else None
        if response.code >= 400:
            raise _refused(data, response.code)
        return data

    async def open(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """An answer whose body is not read yet."""
        fields = {"X-Buffr-Token": [self.token], **{k: [v] for k, v in (headers or {}).items()}}
        data = None
        if body is not None:
            fields["Content-Type"] = ["application/json"]
            data = json.dumps(body).encode()
        elif method in ("POST", "PUT"):
            data = b""
        try:
            return await self.http.request(
                method, self.url + path, headers=fields, data=data, unbuffered=True
            )
        except BuffrError as error:
            what = f"{self.url} does not answer: {error.message}"
            raise ConfigError(what, hint=_NOT_THERE) from error


def _refused(data: Any, status: int) -> BuffrError:
    error = data.get("error", {}) if isinstance(data, dict) else {}
    message = error.get("message", f"the admin listener answered {status}")
    lines = "".join(f"\n{line}" for line in error.get("problems", ()))
    return ConfigError(f"{message}{lines}", hint=error.get("hint") or "")


def ask(given: argparse.Namespace, use: Callable[[AdminClient], Awaitable[int]]) -> int:
    """Ask the buffr that is meant; returns the exit code. Raises ``BuffrError``."""
    url, token = _found(given, os.environ)
    from treq.client import HTTPClient  # noqa: PLC0415  # help does without Twisted
    from twisted.internet.task import react  # noqa: PLC0415

    from buffr.commands.live.agent import agent_of  # noqa: PLC0415

    outcome: list[int | Exception] = []

    def end_at_once() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # there is nothing to end in order

    async def run(reactor: Any) -> None:
        reactor.callWhenRunning(end_at_once)  # once the reactor has its own handlers in place
        agent = agent_of(reactor)
        try:
            outcome.append(await use(AdminClient(url, token, HTTPClient(agent))))
        except (BuffrError, OSError) as error:  # not for the reactor to tell of
            outcome.append(error)
        finally:
            agent.close()

    with suppress(SystemExit):
        react(run)
    for result in outcome:
        if isinstance(result, Exception):
            raise result
        return result
    return 1


def print_json(data: object) -> None:
    """Data as JSON, for programs."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def quoted(segment: str) -> str:
    """A segment of a path."""
    return quote(segment, safe="")
