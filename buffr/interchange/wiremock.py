"""WireMock: stub mappings, one a file or several in one, with bodies in ``__files``.

Both of its recorders write them. A stub says which requests it takes, not
which one was recorded, so that only what it compares exactly is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    body_of_base64,
    charset_of,
    each_imported,
    exchange,
    fields,
    fields_by_name,
    form_of,
    json_bytes,
    text_bytes,
)
from buffr.interchange.source import Source, SourceError, shaped

__all__ = ["LACKS", "read"]

LACKS = (
    "scheme and host",
    "header fields of requests, other than those that a stub compares",
    "where a body was cut, and when its pieces came",
    "times of recordings",
)

_STARTED = "Started"


class _Request(msgspec.Struct):
    method: str = "ANY"
    url: str | None = None
    urlPath: str | None = None  # WireMock's names
    urlPattern: str | None = None
    urlPathPattern: str | None = None
    queryParameters: dict[str, dict[str, Any]] = {}
    headers: dict[str, dict[str, Any]] = {}
    bodyPatterns: list[dict[str, Any]] = []


class _Response(msgspec.Struct):
    status: int = 200
    statusMessage: str | None = None
    headers: dict[str, str | list[str]] = {}
    body: str | None = None
    jsonBody: Any = msgspec.UNSET
    base64Body: str | None = None
    bodyFileName: str | None = None
    fixedDelayMilliseconds: int = 0
    fault: str | None = None
    transformers: list[str] = []
    proxyBaseUrl: str | None = None


class _Mapping(msgspec.Struct):
    request: _Request
    response: _Response
    scenarioName: str | None = None
    requiredScenarioState: str | None = None
    newScenarioState: str | None = None
    insertionIndex: int | None = None


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The stubs of a file or a directory of mappings; of a scenario in its order."""
    stubs: list[_Mapping] = []
    refused: list[NotImported] = []
    for file in _files(source):
        for text in _texts(file):
            try:
                stubs.append(shaped(text, _Mapping))
            except NotImported as error:
                refused.append(NotImported(f"{file.path}: {error.message}"))
    yield from refused
    yield from each_imported(_in_order(stubs), lambda stub: _imported(stub, source))


def _files(source: Source) -> Iterable[Source]:
    if not source.path.is_dir():
        return [source]
    folder = source.path / "mappings" if (source.path / "mappings").is_dir() else source.path
    paths = sorted(folder.rglob("*.json"))
    if len(paths) > source.limits.files:
        raise SourceError(f"{source.path}: {len(paths)} files are too many")
    return [Source(path, source.limits) for path in paths]


def _texts(file: Source) -> Iterator[bytes]:
    data = file.whole()
    if b'"mappings"' in data[:65536]:
        yield from file.elements("mappings")
    else:
        yield data


def _in_order(stubs: list[_Mapping]) -> Iterator[_Mapping]:
    """Scenarios one after another by their states, all else as it was put in."""
    scenarios: dict[str, list[_Mapping]] = {}
    for stub in sorted(stubs, key=lambda each: each.insertionIndex or 0):
        if stub.scenarioName is None:
            yield stub
        else:
            scenarios.setdefault(stub.scenarioName, []).append(stub)
    for steps in scenarios.values():
        by_state = {step.requiredScenarioState or _STARTED: step for step in reversed(steps)}
        state: str | None = _STARTED
        while state is not None and (step := by_state.pop(state, None)) is not None:
            yield step
            state = step.newScenarioState
        taken = set(map(id, steps)) & set(map(id, by_state.values()))
        yield from (step for step in steps if id(step) in taken)


def _imported(stub: _Mapping, source: Source) -> Imported:
    request, response = stub.request, stub.response
    losses: list[str] = []
    if response.fault or response.proxyBaseUrl or response.transformers:
        raise NotImported("its answer is a fault, a proxy's or a template's, not a recording")
    if request.method == "ANY":
        raise NotImported("it takes requests of any method")
    body = _request_body(request, losses)
    pairs = [
        (name, str(matcher["equalTo"]))
        for name, matcher in request.headers.items()
        if "equalTo" in matcher
    ]
    if len(pairs) < len(request.headers):
        losses.append("matchers of header fields other than equalTo")
    asked = Asked(request.method, _target(request, losses), fields(pairs), body)
    answer = Answer(
        response.status,
        fields_by_name(response.headers),
        _answer_body(response, source),
        reason=response.statusMessage,
        delay_ms=response.fixedDelayMilliseconds,
    )
    return exchange(asked, answer, losses=losses)


def _target(request: _Request, losses: list[str]) -> str:
    target = request.url or request.urlPath
    if target is None:
        raise NotImported("it takes requests by a pattern of their URL, not by one URL")
    query = []
    for name, matcher in request.queryParameters.items():
        wanted = matcher.get("hasExactly") or matcher.get("includes") or [matcher]
        for each in wanted:
            if not isinstance(each, dict) or "equalTo" not in each:
                losses.append(f"the matcher of the query field {name}")
                continue
            query.append((name, str(each["equalTo"])))
    if query:
        losses.append("the query's spelling and order")
        target += ("&" if "?" in target else "?") + form_of(query, quote)
    return target


def _request_body(request: _Request, losses: list[str]) -> bytes:
    for pattern in request.bodyPatterns:
        if isinstance(equal := pattern.get("equalTo"), str):
            return text_bytes(equal)
        if "equalToJson" in pattern:
            given = pattern["equalToJson"]
            return text_bytes(given) if isinstance(given, str) else json_bytes(given)
        if isinstance(encoded := pattern.get("binaryEqualTo"), str):
            return body_of_base64(encoded)
        losses.append(f"the matcher of the body {next(iter(pattern), '')}")
    return b""


def _answer_body(response: _Response, source: Source) -> bytes:
    if response.bodyFileName is not None:
        return _beside(source, response.bodyFileName)
    if response.base64Body is not None:
        return body_of_base64(response.base64Body)
    if response.jsonBody is not msgspec.UNSET:
        return json_bytes(response.jsonBody)
    types = [value for name, value in response.headers.items() if name.lower() == "content-type"]
    return text_bytes(response.body or "", charset_of(str(types[0])) if types else "utf-8")


def _beside(source: Source, name: str) -> bytes:
    """A file of ``__files``, which stands beside ``mappings``."""
    path = source.path if source.path.is_dir() else source.path.parent
    for folder in (path, path.parent):
        if (folder / "__files").is_dir():
            return Source(folder / "__files" / "-", source.limits).beside(name)
    raise NotImported(f"there is no folder __files with {name}")
