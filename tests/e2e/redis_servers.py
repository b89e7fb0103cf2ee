"""A real Redis or Valkey server for a test, on a UNIX socket and a port of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from buffr.errors import StoreFailed
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.protocol import Argument, BlockingConnection

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server") or "redis-server"


class RedisServer:
    """A server that keeps what it acknowledged, also if it is killed."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.port = port
        self._command = [
            PROGRAM, "--port", str(port), "--unixsocket", str(self.socket), "--dir", str(directory),
            "--save", "", "--appendonly", "yes", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis+unix://{self.socket}"

    @property
    def address(self) -> RedisAddress:
        return RedisAddress.parse(self.url)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(StoreFailed):
                self.ask("PING")
                return
            time.sleep(0.01)
        raise AssertionError("the server did not start")

    def ask(self, *arguments: Argument) -> object:
        with BlockingConnection.to(self.address) as connection:
            reply: object = connection.ask(*arguments)
            return reply

    def stop_answering(self) -> None:
        """The server is there, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(60)
            self._process = None
