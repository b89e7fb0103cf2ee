"""Settings of mode cache: its store, and where it departs from what HTTP says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from attrs import frozen

from buffr.config import kinds
from buffr.config.kinds import StatusSet
from buffr.config.schema import Kind, Refused, setting
from buffr.config.shapes import ListOf, MapOf
from buffr.config.written import Scalar
from buffr.policy.cache.rules import Override
from buffr.policy.mode import Mode
from buffr.stores.redis.address import OnStoreError, RedisAddress

__all__ = ["CacheBounds", "CacheSettings", "CacheStoreName"]


@frozen
class CacheStoreName:
    """Where entries are kept: in a SQLite file, on a ``server``, or in memory without either."""

    path: Path | None
    server: RedisAddress | None = None


def _parse_store(scalar: Scalar) -> CacheStoreName:
    if scalar.text == "memory:":
        return CacheStoreName(None)
    if scalar.text.startswith("redis"):
        try:
            return CacheStoreName(None, RedisAddress.parse(scalar.text))
        except ValueError as error:
            raise Refused(f"is not the address of a server: {error}") from None
    scheme, mark, path = scalar.text.partition(":")
    if scheme != "sqlite" or not mark or not path or "\0" in path:
        raise Refused
    return CacheStoreName(Path(path))


def _show_store(name: CacheStoreName) -> str:
    if name.server is not None:
        return str(name.server)
    return "memory:" if name.path is None else f"sqlite:{name.path}"


_STORE = Kind(
    "memory:, sqlite:PATH or redis://HOST",
    _parse_store,
    _show_store,
    json={"type": "string", "pattern": "^(memory:$|sqlite:.|rediss?(\\+sentinel|\\+unix)?://.)"},
)
_OVERRIDES: tuple[Override, ...] = get_args(Override)
_METHODS = ("GET", "HEAD", "POST")
_CACHE = frozenset((Mode.CACHE,))
_STORED = frozenset(Mode) - {Mode.PASSTHROUGH}


def _methods(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(name.encode() for name in names)


@frozen(kw_only=True)
class CacheSettings:
    """How mode cache departs from what HTTP says. Times are seconds."""

    store: CacheStoreName | None = setting(
        _STORE,
        None,
        "Where recordings, or the stored answers of mode cache, are kept.",
        variable="BUFFR_STORE",
        flag="store",
        default_text="the cassette; in mode cache `sqlite:buffr-cache.db` in the data directory",
        modes=_STORED,
    )
    on_store_error: OnStoreError = setting(
        kinds.one_of(get_args(OnStoreError)),
        "upstream",
        "What answers while a server that `store` names cannot be asked: the upstream, an error "
        "(503, `refuse`), or the copies that this process has, and the upstream for the rest "
        "(`local`). Mode replay has no upstream, and refuses.",
        modes=_STORED,
    )
    ttl_s: float | None = setting(
        kinds.duration(),
        None,
        "Mode cache: how long a successful answer is fresh, overriding its own headers.",
        key="ttl",
        variable="BUFFR_TTL",
        flag="ttl",
        default_text="from the answer",
        modes=_CACHE,
    )
    ttl_by_status: tuple[tuple[StatusSet, float], ...] = setting(
        MapOf[StatusSet, float, tuple[tuple[StatusSet, float], ...]](
            kinds.STATUSES, kinds.duration(zero="stale at once"), tuple
        ),
        (),
        "Mode cache: the same as `ttl`, for answers with these statuses.",
        modes=_CACHE,
    )
    override: frozenset[Override] = setting(
        ListOf[Override, frozenset[Override]](kinds.one_of(_OVERRIDES), frozenset),
        frozenset(),
        "Mode cache: the directives and rules that are ignored.",
        modes=_CACHE,
    )
    methods: frozenset[bytes] = setting(
        ListOf(kinds.one_of(_METHODS), _methods, least=1),
        frozenset((b"GET", b"HEAD")),
        "Mode cache: the methods whose answers are stored. For `POST`, the body counts as well.",
        default_text="`[GET, HEAD]`",
        modes=_CACHE,
    )
    stale_if_error_s: float | None = setting(
        kinds.duration(zero="never"),
        None,
        "Mode cache: how long a stale answer may be used in place of an error from the upstream.",
        key="stale_if_error",
        default_text="from the answer; 1h if the upstream cannot be reached",
        modes=_CACHE,
    )
    flight_timeout_s: float = setting(
        kinds.duration(),
        60.0,
        "Mode cache: how long a request waits for the answer to an identical request in progress.",
        key="flight_timeout",
        modes=_CACHE,
    )
    tags: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple),
        (),
        "Mode cache: names under which this route's answers can be cleared.",
        modes=_CACHE,
    )


@frozen(kw_only=True)
class CacheBounds:
    """The size limits of each store of mode cache."""

    most_bytes: int = setting(kinds.size(2**16), 2**30, "The size of a store.", key="bytes")
    most_entries: int = setting(
        kinds.whole(1, 100_000_000), 100_000, "The number of answers in a store.", key="entries"
    )
    memory_bytes: int = setting(
        kinds.size(0), 32 * 2**20, "How much of a SQLite store is also kept in memory."
    )
    most_body_bytes: int = setting(
        kinds.size(), 64 * 2**20, "Larger bodies are not stored.", key="body_bytes"
    )
