"""A client of the admin listener, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field

from buffr.testing import BuffrProcess

__all__ = ["Admin"]


@define(eq=False)
class Admin:
    """The admin listener of a buffr that was started with ``BUFFR_ADMIN=0``."""

    url: str
    token: str
    client: httpx.Client = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    @classmethod
    def of(cls, buffr: BuffrProcess, directory: Path) -> Admin:
        buffr.wait_for("msg=admin")
        found = json.loads((directory / "buffr-admin.json").read_text())
        return cls(found["url"], found["token"])

    def get(self, path: str, **query: Any) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(
        self, method: str, path: str, body: Any = None, *, status: int = 200, token: bool = True
    ) -> Any:
        headers = {"X-Buffr-Token": self.token} if token else {}
        answer = self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None
