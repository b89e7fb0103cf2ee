"""How the processes of a test run talk to the one that has the proxy: lines of JSON over TCP."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from buffr.pytest_plugin import network

__all__ = ["Answer", "Caller", "ControlError", "Door", "Local", "Remote"]

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""What the proxy's side does with a message. Raises a ``BuffrError``, or ``OSError``."""


class ControlError(Exception):
    """What the proxy's side could not do, in words."""


class Caller(Protocol):
    """The way to the proxy's side."""

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Have something done, and wait for it. Raises ``ControlError``."""


class Local:
    """In the process that has the proxy."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        return _opened(_answered(self._answer, message))


class Remote:
    """In another process, such as a worker of pytest-xdist."""

    def __init__(self, port: int, token: str) -> None:
        address = ("127.0.0.1", port)
        network.allowed.add(address)
        self._lock = threading.Lock()
        self._file = socket.create_connection(address).makefile("rwb")
        self._send({"token": token})

    def _send(self, message: dict[str, Any]) -> None:
        self._file.write(json.dumps(message).encode() + b"\n")
        self._file.flush()

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                self._send(message)
                line = self._file.readline()
            except OSError as error:
                raise ControlError(f"the process with the proxy does not answer: {error}") from None
        if not line:
            raise ControlError("the process with the proxy has ended")
        return _opened(json.loads(line))


def _answered(answer: Answer, message: dict[str, Any]) -> dict[str, Any]:
    try:
        return answer(message)
    except Exception as error:  # noqa: BLE001  # it is raised again where it was asked for
        return {"error": str(error) or type(error).__name__}


def _opened(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise ControlError(answer["error"])
    return answer


class Door:
    """Where workers come in: a port on loopback, for whoever knows the token."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.token = secrets.token_hex(16)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, name="buffr control", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(None)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as file, suppress(OSError, ValueError):
            token = json.loads(file.readline(4096)).get("token", "")
            if not hmac.compare_digest(str(token), self.token):
                return
            for line in file:
                file.write(json.dumps(_answered(self._answer, json.loads(line))).encode() + b"\n")
                file.flush()

    def close(self) -> None:
        """Let nobody else in."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
