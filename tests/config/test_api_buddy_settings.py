"""The settings of reference-api-buddy: every key, its default, and what is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from buffr.config.api_buddy import defaults_used, looks_like_api_buddy, read_api_buddy
from buffr.config.api_buddy_yaml import as_config
from buffr.errors import ConfigError

_API = {"upstream": "https://api.example"}


def of(**given: Any) -> Any:
    return read_api_buddy({"domain_mappings": {"api": _API}, **given})


def refusal(given: object) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read_api_buddy(given, "buddy.json")
    return refused.value.message.splitlines()


def section(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these keys."""
    return st.fixed_dictionaries({}, optional=keys)


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
    def test_what_is_givencounts(self) -> None:
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
        for path in (":memory:", "file::memory:?cache=shared", "file:x?mode=memory"):
            assert of(cache={"database_path": path}).database is None

    def test_a_file_may_be_a_uri(self) -> None:
        """As SQLite takes them: https://sqlite.org/uri.html."""
        for uri, path in (("file:cache.db?mode=rwc", "cache.db"), ("file:///a%20b", "/a b")):
            assert of(cache={"database_path": uri}).database == path

    @pytest.mark.parametrize(
        "host", ["localhost", "my-host.example", "::1", "[::1]", "fe80::1%eth0"]
    )
    def test_a_host_may_be_a_name(self, host: str) -> None:
        assert of(server={"host": host}).host == host

    @drawn(st.data())
    def test_what_is_taken_here_buffr_s_own_settings_take(self, data: st.DataObject) -> None:
        """So that no error ever speaks of keys that the user has not written."""
        whole = st.integers(1, 10**6)
        seconds = st.floats(0, 10**8) | st.integers(0, 10**8)
        given = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "server": section(
                        port=st.integers(0, 65535), request_timeout=seconds, host=st.just("::1")
                    ),
                    "cache": section(
                        database_path=st.text(),
                        default_ttl_seconds=st.integers(1, 10**8),
                        max_cache_response_size=st.integers(0, 2**41),
                        max_cache_entries=st.integers(0, 10**9),
                    ),
                    "throttling": section(
                        progressive_max_delay=seconds, default_requests_per_hour=whole
                    ),
                    "security": section(require_secure_key=st.booleans(), secure_key=st.text()),
                    "admin": section(rate_limit_per_minute=st.integers(1, 10**12)),
                    "domain_mappings": st.dictionaries(
                        st.text("ab._~- ", max_size=70),
                        section(
                            upstream=st.sampled_from(("https://a.example", "http://[::1]:8/b/")),
                            ttl_seconds=whole,
                            max_requests_per_second=whole,
                        ),
                        max_size=3,
                    ),
                },
            )
        )
        try:
            settings = read_api_buddy(given)
        except ConfigError:
            return
        config = as_config(settings, {})
        assert config.gateway is not None
        assert len(config.gateway.routes) == len(settings.domains)
        assert config.warnings == ()


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "line"),
        [
            ({"server": {"port": "8080"}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"port": 70000}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"port": True}}, "server.port: must be a whole number from 0 to 65535"),
            ({"server": {"host": 1}}, "server.host: must be an address"),
            ({"server": {"host": "a host"}}, "server.host: must be an address"),
            ({"server": {"host": "here:80"}}, "server.host: must be an address"),
            ({"logging": {"format": "%(message)"}}, "logging.format: must be a format"),
            ({"cache": {"database_path": "a\0b"}}, "cache.database_path: must be a file's name"),
            ({"cache": {"database_path": "\ud800"}}, "cache.database_path: must be a file's name"),
            ({"domain_mappings": {65 * "a": _API}}, "the name must be a name of 1 to 64"),
            ({"domain_mappings": {"..": _API}}, "domain_mappings...: the name must"),
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
            ({"domain_mappings": {"a/b": _API}}, "domain_mappings.'a/b': the name must"),
            ({"domain_mappings": {"admin": _API}}, "domain_mappings.admin: the name must"),
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

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            (None, "null"),
            ([1], "an array"),
            (0, "a number"),
            (False, "a boolean"),
            ("", "a string"),
        ],
    )
    def test_no_object_at_all(self, given: object, kind: str) -> None:
        """They were taken for empty: a proxy without a key listened on port 8080."""
        assert refusal(given) == [f"buddy.json: the settings must be an object, not {kind}"]


class TestWarnings:
    def test_unknown_keys_are_ignored_aloud(self) -> None:
        settings = of(cache={"max_entries": 3}, throtling={}, _comment="mine")
        assert settings.warnings == (
            "throtling: unknown key, ignored; did you mean 'throttling'?",
            "cache.max_entries: unknown key, ignored; did you mean 'max_cache_entries'?",
        )

    @pytest.mark.parametrize("host", ["0.0.0.0", "my-host"])
    def test_an_open_port_is_said_in_its_own_words(self, host: str) -> None:
        (warning,) = of(server={"host": host}).warnings
        assert warning == (
            f"server.host: anyone who can reach {host} may use it; set security.require_secure_key"
        )
        assert of(server={"host": host}, security={"require_secure_key": True}).warnings == ()

    def test_defaults_of_a_givensection_are_told(self) -> None:
        assert list(defaults_used({"server": {"port": 1}, "cache": None})) == [
            "server.host not specified, using default value: 127.0.0.1",
            "server.request_timeout not specified, using default value: 30",
        ]

    def test_a_limit_of_nobody_is_said(self) -> None:
        (warning,) = of(throttling={"domain_limits": {"apo": 3}}).warnings
        assert warning == "throttling.domain_limits.apo: is not a name in domain_mappings"


class TestRecognition:
    @pytest.mark.parametrize("given", [{"domain_mappings": {}}, {"server": {}}, {"security": {}}])
    def test_theirs(self, given: object) -> None:
        assert looks_like_api_buddy(given)

    @pytest.mark.parametrize("given", [{}, {"gateway": {}}, {"reverse": []}, [], None])
    def test_not_theirs(self, given: object) -> None:
        assert not looks_like_api_buddy(given)
