"""The settings that every kind of route accepts, declared once."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import Literal, get_args

from attrs import field, frozen

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.faults import FaultSettings
from buffr.config.kinds import StatusSet
from buffr.config.limits import RateLimits
from buffr.config.schema import described, embedded, setting
from buffr.config.shapes import LINES, ListOf, Rules, Section
from buffr.config.upstream import UpstreamOptions
from buffr.origin import Origin
from buffr.policy.mode import Mode

__all__ = [
    "RECORDINGS",
    "REPEAT",
    "STATUS_SET",
    "ClockSettings",
    "Credentials",
    "EndOfStream",
    "FrameMatch",
    "GrpcSettings",
    "IgnoreRule",
    "MatchPart",
    "MatchSettings",
    "NormaliseSettings",
    "Preset",
    "Repeat",
    "ReplayClock",
    "RouteSettings",
    "VariantsRule",
    "WebSocketSettings",
    "cassette_name",
    "default_cassette_name",
    "scope_cassette",
]

_UNSAFE = re.compile(r"[^a-z0-9._-]")
_NAME_LENGTH = 100
_SCOPE_LENGTH = 64


def cassette_name(host: str) -> str:
    """The file name of a host's cassette: ``api.example.com.json``, ``__1.json`` for ``::1``.

    It is safe for any host: no separator, no leading dot or dash, no more than
    105 characters. A host that is too long is cut, and a digest keeps it
    distinct.
    """
    name = _UNSAFE.sub("_", host.lower())
    if name[:1] in {"", ".", "-"}:
        name = f"_{name[1:]}"
    if len(name) > _NAME_LENGTH:
        digest = blake2b(host.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        name = f"{name[: _NAME_LENGTH - 13]}-{digest}"
    return f"{name}.json"


def default_cassette_name(origin: Origin) -> str:
    """``api.example.com.json``; with the port if it is not the scheme's default.

    Two services on one host are two upstreams, and must not answer for each other.
    """
    return cassette_name(origin.authority.decode("ascii").strip("[]").replace("]:", ":"))


def scope_cassette(cassette: Path, scope: str) -> Path:
    """A scope's own file next to a cassette: ``api.example.com@test-42.json``.

    Without a scope it is the cassette itself. Scopes that differ only in case
    stay distinct on every file system.
    """
    if not scope:
        return cassette
    name = _UNSAFE.sub("_", scope.lower())[:_SCOPE_LENGTH]
    if name != scope:
        digest = blake2b(scope.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        name = f"{name}-{digest}"
    return cassette.with_name(f"{cassette.stem}@{name}{cassette.suffix}")


Repeat = Literal["cycle", "last", "once"]

REPEAT = kinds.one_of(get_args(Repeat))
STATUS_SET = ListOf(kinds.STATUSES, StatusSet.union, least=1)


ReplayClock = Literal["recorded", "shifted", "now"]
EndOfStream = Literal["upstream", "client"]
FrameMatch = Literal["strict", "json", "any", "type"]


@frozen(kw_only=True)
class WebSocketSettings:
    """How a client's messages are compared with the recorded ones in a replay."""

    match: FrameMatch = setting(
        kinds.one_of(get_args(FrameMatch)),
        "json",
        "How a client's messages are compared with the recorded ones: JSON by meaning (`json`), "
        "byte by byte (`strict`), by type only (`type`), or not at all (`any`).",
    )
    type_field: str = setting(
        kinds.NAME, "type", "The JSON member that holds a message's type, for `match: type`."
    )


@frozen(kw_only=True)
class ClockSettings:
    """What a replay says about time. ``json`` and ``keep`` are names of members, in any case."""

    show: ReplayClock = setting(
        kinds.one_of(get_args(ReplayClock)),
        "recorded",
        "What replayed answers say about time: what was recorded, or that moved by the time that "
        "has passed, in fields and bodies (`shifted`) or in fields only (`now`). "
        "`replay_clock: shifted` is short for `replay_clock: {show: shifted}`.",
    )
    json: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple),
        (),
        "Names of further members and fields that are about time, in addition to those that are "
        "so by habit, like `expires_at`.",
    )
    keep: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "Names of members and fields that stay as recorded."
    )


RECORDINGS = frozenset((Mode.AUTO, Mode.RECORD, Mode.REPLAY))
"""The modes that use recordings."""


@frozen(kw_only=True)
class GrpcSettings:
    """What is known of the messages of gRPC, and of all that sends protobuf over HTTP."""

    grpc_descriptors: tuple[Path, ...] = setting(
        ListOf(kinds.PATH, tuple),
        (),
        "Compiled `.proto` files, as `protoc --include_imports --descriptor_set_out=FILE` writes"
        " them, relative to the working directory. Their messages are compared, shown, redacted"
        " and explained [by field](how-to/grpc.md#fields).",
        key="grpc.descriptors",
        flag="grpc_descriptors",
        modes=RECORDINGS | {Mode.CACHE},
    )
    grpc_reflection_s: float = setting(
        kinds.duration(zero="not asked"),
        3.0,
        "How long an upstream may take to declare a service of gRPC by server reflection. It is"
        " asked once for each service, with the metadata of the call, before the first call is"
        " passed on.",
        key="grpc.reflection",
        modes=frozenset((Mode.AUTO, Mode.RECORD)),
    )


Preset = Literal["buffr", "vcr", "har", "mcp"]
MatchPart = Literal["method", "scheme", "host", "port", "path", "query", "body", "headers"]
Credentials = Literal["constant", "distinct"]
VariantsRule = Literal["lenient", "strict"]


@frozen(kw_only=True)
class IgnoreRule:
    """A pattern for text in a request that does not count in matching.

    ``part`` is ``request.body``, ``request.path``, ``request.query``,
    ``websocket.frame``, or ``request.header.`` and a lower-case name.
    ``pattern`` is not yet known to be valid RE2.
    """

    part: str = field(
        metadata=described(
            kinds.IGNORE_PART, "The part of the request to which the pattern applies.", key="in"
        )
    )
    pattern: str = field(metadata=described(kinds.PATTERN, "The text to replace before matching."))
    replace_with: str = setting(kinds.LITERAL, "", "The replacement, taken literally.")
    sync_response: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the recorded text is replaced with the live text in a replayed answer.",
    )


@frozen(kw_only=True)
class NormaliseSettings:
    """What is normalised before requests are compared, each with its switch."""

    json: bool = setting(
        kinds.BOOL, default=True, doc="Whether JSON bodies are compared by meaning."
    )
    form: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether differences in the encoding of urlencoded forms are ignored.",
    )
    multipart: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether multipart forms are compared part by part, regardless of their boundary.",
    )
    content_coding: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether compressed bodies are decompressed before they are compared.",
    )
    signatures: bool = setting(
        kinds.BOOL, default=True, doc="Whether the signature parts of signed URLs are ignored."
    )
    conditions: bool = setting(
        kinds.BOOL, default=True, doc="Whether `Range` and `If-` headers count if they are present."
    )
    idempotency: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether idempotency tokens that a client generates for each call are ignored.",
    )
    query_order: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether query fields with different names may come in any order.",
    )


@frozen(kw_only=True)
class MatchSettings:
    """What counts in matching. ``header`` and ``ignore_header`` names are in lower case.

    ``on`` is ``None`` if the preset decides which parts count.
    """

    preset: Preset = setting(
        kinds.one_of(get_args(Preset)),
        "buffr",
        "The rules that decide what counts: buffr's own, those of VCR.py, those of tools that"
        " replay HAR files, or those for MCP. `match: vcr` is short for `match: {preset: vcr}`."
        " Not used in mode cache.",
        flag="match",
    )
    on: tuple[MatchPart, ...] | None = setting(
        ListOf(kinds.one_of(get_args(MatchPart)), tuple, least=1),
        None,
        "The parts of a request that count. `headers` means the headers that count by default.",
        flag="match_on",
        default_text="by preset",
    )
    ignore: tuple[IgnoreRule, ...] = setting(
        Rules(IgnoreRule), (), "Rules for text that does not count. An invalid rule is skipped."
    )
    json: tuple[str, ...] = setting(
        ListOf(kinds.JSON_PATH, tuple, separator=LINES),
        (),
        "Paths in a JSON body that do not count.",
        flag="match_json",
    )
    query: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "Query fields that do not count.", flag="match_ignore_query"
    )
    form: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "Form fields that do not count.", flag="match_ignore_form"
    )
    header: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple),
        (),
        "Headers that count in addition to the defaults.",
        flag="match_header",
    )
    ignore_header: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple),
        (),
        "Headers that do not count, whether they are there or not.",
        flag="match_ignore_header",
    )
    credentials: Credentials = setting(
        kinds.one_of(get_args(Credentials)),
        "constant",
        "Whether all credentials count as equal, or as distinct.",
    )
    variants: VariantsRule = setting(
        kinds.one_of(get_args(VariantsRule)),
        "lenient",
        "Whether, in mode replay, the only recording of a request also answers one that"
        " differs in version headers or in headers that the recorded `Vary` names.",
    )
    body_bytes: int = setting(
        kinds.size(2**20),
        2**26,
        "Bodies up to this size, decoded, are compared by meaning. Larger ones are compared by "
        "their bytes, and rules for bodies do not apply to them.",
    )
    normalise: NormaliseSettings = setting(
        Section(NormaliseSettings), NormaliseSettings(), "What is normalised before matching."
    )


@frozen(kw_only=True)
class RouteSettings:
    """The settings of a route, whichever listener it belongs to.

    A reverse port, a row of the gateway and a host behind the forward proxy
    accept all of them, and so does the forward proxy itself, for its hosts.
    ``cassette`` is ``None`` only there. ``share`` and ``record_statuses`` are
    ``None`` if the mode decides, ``repeat`` if ``match`` does, and
    ``replay_delays`` if the global setting does. ``replay_retry_after_s`` is
    ``None`` for answers as they were recorded.
    """

    mode: Mode = setting(
        kinds.MODE,
        Mode.AUTO,
        "How requests are answered.",
        variable="BUFFR_MODE",
        flag="mode",
    )
    cassette: Path | None = setting(
        kinds.PATH,
        None,
        "The cassette's file, relative to the working directory.",
        modes=RECORDINGS,
    )
    keep_host: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether the upstream receives the client's `Host` instead of its own.",
        flag="keep_host",
    )
    repeat: Repeat | None = setting(
        REPEAT,
        None,
        "What follows the last of several recordings of one request: "
        "the first again (`cycle`), the last again (`last`), or a miss (`once`).",
        flag="repeat",
        default_text="`cycle`; `once` with `match: vcr`, `last` with `match: har`",
        modes=RECORDINGS,
    )
    replay_delays: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether a replay keeps the recorded delays.",
        default_text="the global setting",
        modes=RECORDINGS,
    )
    replay_clock: ClockSettings = setting(
        Section(ClockSettings, word="show"),
        ClockSettings(),
        "What replayed answers say about time.",
        variable="BUFFR_REPLAY_CLOCK",
        flag="replay_clock",
        modes=RECORDINGS,
    )
    replay_retry_after_s: float | None = setting(
        kinds.duration(zero="at once"),
        None,
        "The longest wait that a replayed answer demands with `Retry-After`. Longer ones are cut.",
        key="replay_retry_after",
        default_text="as recorded",
        modes=RECORDINGS,
    )
    end_of_stream: EndOfStream = setting(
        kinds.one_of(get_args(EndOfStream)),
        "upstream",
        "Who ends a stream: the upstream, or only the client. With `client`, mode replay also "
        "replays an answer up to where its client left, and then holds it open.",
        modes=RECORDINGS,
    )
    share: bool | None = setting(
        kinds.BOOL,
        None,
        "Whether identical requests in progress share one request to the upstream.",
        default_text="by mode",
        modes=RECORDINGS,
    )
    record_statuses: StatusSet | None = setting(
        STATUS_SET,
        None,
        "The statuses to record. Answers with other statuses pass through unrecorded.",
        default_text="by mode",
        modes=RECORDINGS,
    )
    re_record_after_s: float | None = setting(
        kinds.duration(),
        None,
        "The age from which a recording is replaced in mode auto. Mode replay only warns.",
        key="re_record_after",
        modes=RECORDINGS,
    )
    check_live: float = setting(
        kinds.SHARE,
        0.0,
        "The share of safe requests, such as `5%`, for which the live API is asked on the side "
        "whether it would still answer as recorded. Each recording is checked once.",
        modes=frozenset((Mode.AUTO, Mode.REPLAY)),
    )
    limits: RateLimits | None = setting(
        Section(RateLimits),
        None,
        "Limits on requests to the upstream. Replayed answers do not count.",
    )
    hooks: Path | None = setting(
        kinds.PATH,
        None,
        "A Python file with [hooks](how-to/hooks.md), relative to the working directory. It is run"
        " when buffr starts.",
        modes=RECORDINGS,
    )
    faults: tuple[FaultSettings, ...] = setting(
        Rules(FaultSettings, skips=False),
        (),
        "[Faults](how-to/faults.md) for a client to prove itself by, on live and replayed answers.",
    )
    fault_seed: int | None = setting(
        kinds.whole(0, 2**31 - 1),
        None,
        "What the chances of `faults` follow from: the same seed gives the same run.",
        default_text="another one each time, in the log",
    )
    match: MatchSettings = setting(
        Section(MatchSettings, word="preset"),
        MatchSettings(),
        "How requests are matched.",
        modes=RECORDINGS | {Mode.CACHE},
    )
    websocket: WebSocketSettings = setting(
        Section(WebSocketSettings),
        WebSocketSettings(),
        "How WebSocket sessions are replayed.",
        modes=RECORDINGS,
    )
    grpc: GrpcSettings = embedded(GrpcSettings())
    upstream: UpstreamOptions = embedded(UpstreamOptions())
    cache: CacheSettings = embedded(CacheSettings())
