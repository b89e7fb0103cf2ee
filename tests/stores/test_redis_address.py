"""The URL of a server: every form of it, and no secret in what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.stores.redis.address import RedisAddress

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


class TestForms:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("redis://cache", RedisAddress(nodes=(("cache", 6379),))),
            ("redis://cache:7000/3", RedisAddress(nodes=(("cache", 7000),), db=3)),
            ("rediss://[::1]:7000", RedisAddress(nodes=(("::1", 7000),), tls=True)),
            (
                "redis://us%40er:pass%2Fword@cache",
                RedisAddress(nodes=(("cache", 6379),), username="us@er", password="pass/word"),
            ),
            (
                "redis+sentinel://:s@one,two:7/main/2?prefix=ci",
                RedisAddress(
                    nodes=(("one", 26379), ("two", 7)),
                    service="main",
                    db=2,
                    password="s",
                    prefix="ci",
                ),
            ),
            ("redis+unix:///run/redis.sock?db=1", RedisAddress(path=Path("/run/redis.sock"), db=1)),
            (
                "rediss://cache?ca_file=/etc/ca.pem",
                RedisAddress(nodes=(("cache", 6379),), tls=True, ca_file=Path("/etc/ca.pem")),
            ),
        ],
    )
    def test_each(self, url: str, expected: RedisAddress) -> None:
        assert RedisAddress.parse(url) == expected
        assert RedisAddress.parse(expected.url) == expected

    @given(st.builds(RedisAddress, nodes=st.just((("h", 6379),)), username=TEXT, password=TEXT))
    def test_any_login_survives(self, address: RedisAddress) -> None:
        assert RedisAddress.parse(address.url) == address

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://cache", "the scheme must be one of"),
            ("redis://", "a host is missing"),
            ("redis://cache:port", "a port must be a number"),
            ("redis://cache/a", "the database must be a number"),
            ("redis://cache/1/2", "one number may follow the host"),
            ("redis+sentinel://one,two", "names the master's service"),
            ("redis+unix://host/path", "names a socket"),
            ("redis://cache?timeout=1", "timeout is not an option"),
        ],
    )
    def test_what_is_wrong_is_said(self, url: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            RedisAddress.parse(url)


class TestSecrets:
    def test_a_password_is_not_shown(self) -> None:
        address = RedisAddress.parse("redis://user:s3cret@cache/1")
        assert str(address) == "redis://user:***@cache/1"
        assert "s3cret" not in repr(address)
