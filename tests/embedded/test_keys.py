"""The key of an embedded proxy."""

from __future__ import annotations

import re

import pytest

from buffr.embedded.security import find_key
from buffr.wiring.access_keys import new_key


class TestKeys:
    def test_a_new_one_is_32_bytes_in_base64url(self) -> None:
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new_key())
        assert new_key() != new_key()

    @pytest.mark.parametrize(
        ("path", "headers", "query", "rest"),
        [
            ("/api/x", {"X-API-Buddy-Key": "k"}, {}, "/api/x"),
            ("/api/x", {"x-buffr-key": "k"}, {}, "/api/x"),
            ("/api/x", {"authorization": "bearer k"}, {}, "/api/x"),
            ("/api/x", {}, {"key": "k"}, "/api/x"),
            ("/k/api/x", {}, {}, "/api/x"),
            ("/api/k/x", {}, {}, "/api/x"),
            ("/api/k", {}, {}, "/api"),
        ],
    )
    def test_every_place(
        self, path: str, headers: dict[str, str], query: dict[str, str], rest: str
    ) -> None:
        assert find_key("k", path, headers, query) == (True, rest)

    @pytest.mark.parametrize(
        ("path", "headers", "query"),
        [
            ("/api/x", {}, {}),
            ("/api/x/k", {}, {}),
            ("/api/x", {"X-API-Buddy-Key": "K"}, {}),
            ("/api/x", {"Authorization": "Basic k"}, {}),
            ("/api/x", {}, {"key": "kk"}),
            ("/api/\udcff", {}, {"key": "\udcff"}),
        ],
    )
    def test_nowhere(self, path: str, headers: dict[str, str], query: dict[str, str]) -> None:
        assert find_key("k", path, headers, query) == (False, path)
