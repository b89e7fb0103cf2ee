"""The ``api-buddy`` command, with the flags of reference-api-buddy."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buffr import __version__
from buffr.assembly.keys import new_key
from buffr.config_command import read_json
from buffr.embedded import CachingProxy
from buffr.errors import ConfigError

__all__ = ["main"]

_GENERATED = "api_buddy_config.json"
_DEFAULTS: dict[str, Any] = {
    "server": {"host": "127.0.0.1", "port": 8080},
    "security": {"require_secure_key": True},
    "cache": {"database_path": "api_buddy_cache.db", "default_ttl_seconds": 86400},
    "throttling": {"default_requests_per_hour": 1000},
    "domain_mappings": {"example": {"upstream": "https://api.example.com"}},
    "logging": {"level": "INFO"},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.generate_config:
            return _generate()
        if given.security_key_only:
            _tell(f"Generated security key: {new_key()}")
            return 0
        return _serve(
            _with_flags(_DEFAULTS if given.config is None else read_json(given.config), given)
        )
    except ConfigError as error:
        sys.stderr.write("".join(f"api-buddy: {line}\n" for line in str(error).splitlines()))
    except OSError as error:
        sys.stderr.write(f"api-buddy: {error}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="api-buddy", description="A caching proxy for reference APIs, served by buffr."
    )
    parser.add_argument("--config", "-c", type=Path, help="the settings' file (JSON)")
    parser.add_argument("--host", help="the address to listen on")
    parser.add_argument("--port", "-p", type=int, help="the port to listen on; 0 takes a free one")
    parser.add_argument(
        "--generate-config", action="store_true", help=f"write {_GENERATED} and exit"
    )
    parser.add_argument(
        "--security-key-only", action="store_true", help="print a new security key and exit"
    )
    parser.add_argument(
        "--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="what is logged"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s (buffr) {__version__}")
    return parser


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _generate() -> int:
    with Path(_GENERATED).open("x", encoding="utf-8") as file:  # never over settings of somebody
        json.dump(_DEFAULTS, file, indent=2)
        file.write("\n")
    _tell(f"Generated default configuration: {_GENERATED}")
    return 0


def _with_flags(config: Any, given: argparse.Namespace) -> Any:
    if not isinstance(config, dict):
        return config
    over = {
        "server": {"host": given.host, "port": given.port},
        "logging": {"level": given.log_level},
    }
    for section, flags in over.items():
        said = {name: value for name, value in flags.items() if value is not None}
        if said and isinstance(config.get(section, {}), dict):
            config = config | {section: config.get(section, {}) | said}
    return config


def _serve(config: Any) -> int:
    proxy = CachingProxy(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        proxy.start()
        assert proxy.server is not None
        host, port = proxy.server.server_address
        _tell(f"api-buddy listens on http://{host}:{port}")
        if (key := proxy.get_secure_key()) is not None:
            _tell(f"Security key: {key}")
            _tell(f"  a field:   X-API-Buddy-Key: {key}")
            _tell(f"  the query: ?key={key}")
            _tell(f"  the path:  /{key}/NAME/...")
        proxy.wait()
    except KeyboardInterrupt:
        pass
    finally:
        proxy.stop()
    return 0


def _interrupt(_: int, __: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
