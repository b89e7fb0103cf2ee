"""A request through a forward proxy of its own, twice: recorded, then replayed."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from buffr.config import load
from buffr.errors import BuffrError
from buffr.testing import FakeUpstream, answer
from buffr.wiring.build import build

__all__ = ["replayed"]

_BODY = b"buffr doctor"
_PATIENCE_S = 10.0


def replayed() -> str | None:
    """``None`` if the second request was answered from the recording of the first, else why not.

    It runs the reactor: once in a process. The upstream is a sample on
    loopback, and the recording is in a temporary directory.
    """
    wrong: list[str | None] = []

    async def check(reactor: Any) -> None:
        try:
            wrong.append(await _check(reactor))
        except (BuffrError, OSError, HTTPException) as error:  # not for the reactor to tell of
            wrong.append(str(error))

    with suppress(SystemExit):
        react(check)
    return wrong[0] if wrong else "it was interrupted"


async def _check(reactor: Any) -> str | None:
    with (
        tempfile.TemporaryDirectory(prefix="buffr-doctor-") as directory,
        FakeUpstream(lambda _: answer(_BODY)) as upstream,
    ):
        flags = {"proxy": "true", "port": "0", "data_dir": directory, "admin": "false"}
        service = build(load(None, {}, flags), reactor, on_console=False)
        service.startService()
        try:
            proxy = f"http://127.0.0.1:{service.listeners[0].port}"
            for number in range(2):
                body = await deferToThread(_asked, proxy, upstream.url)
                if body != _BODY:
                    return f"answer {number + 1} differs from what the upstream sent"
        finally:
            await service.stopService()
        if len(upstream.received) != 1:
            return f"the upstream was asked {len(upstream.received)} times instead of once"
    return None


def _asked(proxy: str, url: str) -> bytes:
    try:
        opener = build_opener(ProxyHandler({"http": proxy}))
        with opener.open(f"{url}/check", timeout=_PATIENCE_S) as response:
            body: bytes = response.read()
    except URLError as error:
        raise OSError(f"the proxy at {proxy} did not answer: {error.reason}") from error
    return body
