"""The ``api-buddy`` command, with the flags and messages of reference-api-buddy."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buffr import __version__
from buffr.commands.convert import read_json
from buffr.commands.terminal import ends_with_its_reader
from buffr.config.api_buddy import read_api_buddy
from buffr.embedded.proxy import CachingProxy
from buffr.errors import ConfigError
from buffr.wiring.access_keys import new_key

__all__ = ["address", "main"]

_GENERATED = "api_buddy_config.json"
_EXAMPLES = """\
Examples:
  api-buddy --config config.json          # the settings of a file
  api-buddy --host 0.0.0.0 --port 9090    # another address
  api-buddy --generate-config             # write a file to begin with
  api-buddy --security-key-only           # print a new key

Without --config, API_BUDDY_DB_PATH names the cache's file (api_buddy_cache.db)
and API_BUDDY_LOG_LEVEL what is logged (INFO).
"""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Reported(Exception):
    """The problem has already been reported, where the original reports it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    with ends_with_its_reader():
        return _run(_parser().parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    try:
        if given.generate_config:
            return _generate()
        if given.security_key_only:
            _tell(f"Generated security key: {new_key()}")
            return 0
        return _serve(_with_flags(_settings(given.config), given))
    except _Reported:
        pass
    except ConfigError as error:
        sys.stderr.write("".join(f"api-buddy: {line}\n" for line in str(error).splitlines()))
    except OSError as error:
        sys.stderr.write(f"api-buddy: {error}\n")
    return 1


def address(arguments: Sequence[str]) -> tuple[str, int]:
    """Where the command listens with these arguments, a file among them.

    Raises ``ConfigError``.
    """
    given = _parser().parse_args(arguments)
    settings = read_api_buddy(_with_flags(read_json(given.config), given))
    return settings.host, settings.port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="api-buddy",
        description="Reference API Buddy - HTTP Caching Proxy, served by buffr.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", "-c", type=Path, help="the settings file (JSON)")
    parser.add_argument("--host", help="the address to listen on, or a host name (127.0.0.1)")
    parser.add_argument(
        "--port", "-p", type=int, help="the port to listen on; 0 takes a free one (8080)"
    )
    parser.add_argument(
        "--generate-config", action="store_true", help=f"write {_GENERATED} and exit"
    )
    parser.add_argument(
        "--security-key-only", action="store_true", help="print a new security key and exit"
    )
    parser.add_argument(
        "--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="what is logged (INFO)"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s (buffr) {__version__}")
    return parser


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _settings(path: Path | None) -> dict[str, Any]:
    """Those of the file, or the default ones. Raises ``ConfigError``."""
    if path is None:
        settings = _defaults(os.environ)
        _tell("Using default configuration. Use --generate-config to create a config file.")
        return settings
    try:
        given = read_json(path)
    except ConfigError as error:
        match error.__cause__:
            case FileNotFoundError():
                _tell(f"Error: Configuration file not found: {path}")
            case ValueError() as fault:
                _tell(f"Error: Invalid JSON in configuration file: {path}: {fault}")
            case _:
                raise
        raise _Reported from None
    read_api_buddy(given, str(path))
    assert isinstance(given, dict)
    return given


def _defaults(environ: Mapping[str, str]) -> dict[str, Any]:
    """The content for ``--generate-config``. Raises ``ConfigError`` for an invalid variable."""
    level = environ.get("API_BUDDY_LOG_LEVEL") or "INFO"
    database = environ.get("API_BUDDY_DB_PATH") or "api_buddy_cache.db"
    for name, section in (
        ("API_BUDDY_LOG_LEVEL", {"logging": {"level": level}}),
        ("API_BUDDY_DB_PATH", {"cache": {"database_path": database}}),
    ):
        read_api_buddy(section, name)
    return {
        "server": {"host": "127.0.0.1", "port": 8080},
        "security": {"require_secure_key": True},
        "cache": {"database_path": database, "default_ttl_seconds": 86400},
        "throttling": {"default_requests_per_hour": 1000},
        "domain_mappings": {"example": {"upstream": "https://api.example.com"}},
        "logging": {"level": level},
    }


def _generate() -> int:
    text = json.dumps(_defaults(os.environ), indent=2)
    with Path(_GENERATED).open("x", encoding="utf-8") as file:  # never overwrites existing settings
        file.write(f"{text}\n")
    _tell(f"Generated default configuration: {_GENERATED}")
    return 0


def _with_flags(config: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    over = {
        "server": {"host": given.host, "port": given.port},
        "logging": {"level": given.log_level},
    }
    for section, flags in over.items():
        said = {name: value for name, value in flags.items() if value is not None}
        if said:
            config = config | {section: (config.get(section) or {}) | said}
    return config


def _serve(config: dict[str, Any]) -> int:
    proxy = CachingProxy(config)
    # Before other threads start: a handler that raises could interrupt any lock.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        proxy.start()
        _introduce(proxy)
        signal.sigwait(_SIGNALS)
        for number in _SIGNALS:  # a second one ends the process at once
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _tell("\nShutting down...")
    finally:
        proxy.stop()
    return 0


def _introduce(proxy: CachingProxy) -> None:
    """Print where it listens, in the words that scripts wait for."""
    assert proxy.server is not None
    _tell(
        f"Starting Reference API Buddy on "
        f"{proxy.config['server']['host']}:{proxy.server.server_port}"
    )
    if (key := proxy.get_secure_key()) is not None:
        _tell(f"Security key: {key}")
        _tell("Include this key in your requests:")
        _tell(f"  Path prefix: /{key}/domain/path")
        _tell(f"  Query param: ?key={key}")
        _tell(f"  Header: X-API-Buddy-Key: {key}")
    _tell("\nPress Ctrl+C to stop")


if __name__ == "__main__":
    sys.exit(main())
