"""The settings of reference-api-buddy: every key, its default, and what is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from buffr.config.api_buddy import looks_like_api_buddy, read_api_buddy
from buffr.errors import ConfigError

_API = {"upstream": "https://api.example"}


def of(**given: Any) -> Any:
    return read_api_buddy({"domain_mappings": {"api": _API}, **given})


def refusal(given: object) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read_api_buddy(given, "buddy.json")
    return refused.value.message.splitlines()


class TestDefaults:
    def test_everything_has_one(self) -> None:
        settings = read_api_buddy({})
        assert (settings.host, settings.port) == ("127.0.0.1", 8080)
        assert settings.request_timeout_s == 30
        assert settings.domains == ()
        assert (settings.default_per_hour, settings.max_delay_s) == (1000, 300)
        assert settings.database is None
        assert (settings.default_ttl_s, settings.max_entries) == (86400, 1000)
        assert settings.max_response_bytes == 10485760
        assert (settings.require_key, settings.key) == (False, None)
        assert settings.log_security_events
        assert (settings.admin, settings.admin_per_minute) == (True, 10)
        assert settings.admin_log_access
        log = settings.log
        assert (log.level, log.parent_logger, log.console, log.file) == ("INFO", None, True, None)
        assert (log.max_file_bytes, log.backup_count) == (10485760, 5)
        assert settings.warnings == ()

    def test_a_domain_has_those_of_all(self) -> None:
        (domain,) = of(
            cache={"default_ttl_seconds": 7}, throttling={"default_requests_per_hour": 8}
        ).domains
        assert (domain.ttl_s, domain.per_hour) == (7, 8)
        assert (domain.per_second, domain.per_minute) == (None, None)

    def test_null_is_as_good_as_nothing(self) -> None:
        settings = read_api_buddy({"cache": None, "server": {"port": None}})
        assert (settings.port, settings.max_entries) == (8080, 1000)
        assert settings.given["cache"]["max_cache_entries"] == 1000


class TestValues:
    def test_what_is_given_counts(self) -> None:
        settings = read_api_buddy(
            {
                "server": {"host": "0.0.0.0", "port": 0, "request_timeout": 1.5},
                "domain_mappings": {
                    "api.one": {
                        "upstream": "https://api.example/base",
                        "ttl_seconds": 5,
                        "max_requests_per_second": 2,
                        "max_requests_per_minute": 30,
                    },
                    "two": _API,
                },
                "throttling": {"domain_limits": {"two": 4}, "progressive_max_delay": 0},
                "cache": {"database_path": "./cache.db", "max_cache_entries": 3},
                "security": {"require_secure_key": True, "secure_key": "sesame"},
                "logging": {"level": "debug", "enable_file": True, "file_path": "x.log"},
            }
        )
        one, two = settings.domains
        assert (settings.host, settings.port, settings.request_timeout_s) == ("0.0.0.0", 0, 1.5)
        assert (one.name, one.upstream, one.ttl_s) == ("api.one", "https://api.example/base", 5)
        assert (one.per_second, one.per_minute, one.per_hour) == (2, 30, 1000)
        assert (two.per_hour, settings.max_delay_s) == (4, 0)
        assert (settings.database, settings.max_entries) == ("./cache.db", 3)
        assert (settings.key, settings.log.level, settings.log.file) == ("sesame", "DEBUG", "x.log")
        assert "sesame" not in repr(settings)

    def test_a_program_may_give_a_logger_and_a_function(self) -> None:
        settings = of(
            logging={"parent_logger": logging.getLogger("mine")}, callbacks={"on_shutdown": print}
        )
        assert settings.log.parent_logger == "mine"

    def test_memory_has_many_names(self) -> None:
        for path in (":memory:", "file::memory:?cache=shared"):
            assert of(cache={"database_path": path}).database is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "line"),
        [
            ({"server": {"port": "8080"}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"port": 70000}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"port": True}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"host": 1}}, "server.host: must be an address"),
            ({"server": {"request_timeout": 0}}, "server.request_timeout: must be a number of"),
            ({"server": []}, "server: must be a mapping with host, port, request_timeout"),
            ({"security": {"require_secure_key": "yes"}}, "require_secure_key: must be true or"),
            ({"cache": {"default_ttl_seconds": 0}}, "cache.default_ttl_seconds: must be"),
            ({"cache": {"default_ttl_seconds": 1.5}}, "cache.default_ttl_seconds: must be"),
            ({"cache": {"max_cache_entries": -1}}, "cache.max_cache_entries: must be"),
            ({"throttling": {"domain_limits": {"a": 0}}}, "throttling.domain_limits.a: must be"),
            ({"throttling": {"domain_limits": 3}}, "throttling.domain_limits: must be a mapping"),
            ({"logging": {"level": "LOUD"}}, "logging.level: must be one of DEBUG"),
            ({"logging": {"enable_file": True}}, "logging.file_path: is missing"),
            ({"admin": {"rate_limit_per_minute": 0}}, "admin.rate_limit_per_minute: must be"),
            ({"callbacks": {"on_shutdown": "x"}}, "callbacks.on_shutdown: must be a function"),
            ({"domain_mappings": []}, "domain_mappings: must be a mapping"),
            ({"domain_mappings": {"a": "https://x"}}, "domain_mappings.a: must be a mapping"),
            ({"domain_mappings": {"a": {}}}, "domain_mappings.a.upstream: is missing"),
            ({"domain_mappings": {"a/b": _API}}, "domain_mappings.'a/b': the name is"),
            ({"domain_mappings": {"admin": _API}}, "domain_mappings.admin: the name is"),
            (
                {"domain_mappings": {"a": {"upstream": "api.example"}}},
                "domain_mappings.a.upstream: 'api.example' does not begin with",
            ),
            (
                {"domain_mappings": {"a": {**_API, "max_requests_per_second": 0}}},
                "domain_mappings.a.max_requests_per_second: must be",
            ),
        ],
    )
    def test_a_wrong_value_is_named(self, given: dict[str, Any], line: str) -> None:
        """Defect: invalid settings were accepted."""
        (told,) = refusal(given)
        assert told.startswith("buddy.json: ")
        assert line in told

    def test_all_are_told_at_once(self) -> None:
        told = refusal({"server": {"port": -1}, "cache": {"max_cache_entries": 0}})
        assert len(told) == 2

    def test_a_wrong_key_is_not_shown(self) -> None:
        (told,) = refusal({"security": {"secure_key": "my secret"}})
        assert "my secret" not in told
        assert "secure_key" in told

    def test_no_mapping_at_all(self) -> None:
        assert refusal([1]) == ["buddy.json: the settings must be a mapping"]


class TestWarnings:
    def test_unknown_keys_are_ignored_aloud(self) -> None:
        settings = of(cache={"max_entries": 3}, throtling={}, _comment="mine")
        assert settings.warnings == (
            "throtling: unknown key, ignored; did you mean 'throttling'?",
            "cache.max_entries: unknown key, ignored; did you mean 'max_cache_entries'?",
        )

    def test_a_limit_of_nobody_is_said(self) -> None:
        (warning,) = of(throttling={"domain_limits": {"apo": 3}}).warnings
        assert warning == "throttling.domain_limits.apo: is no name in domain_mappings"


class TestRecognition:
    @pytest.mark.parametrize("given", [{"domain_mappings": {}}, {"server": {}}, {"security": {}}])
    def test_theirs(self, given: object) -> None:
        assert looks_like_api_buddy(given)

    @pytest.mark.parametrize("given", [{}, {"gateway": {}}, {"reverse": []}, [], None])
    def test_not_theirs(self, given: object) -> None:
        assert not looks_like_api_buddy(given)
