"""Postman collections, v2 and v2.1: the saved examples of their requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from buffr.interchange.imported import (
    Answer,
    Asked,
    Imported,
    NotImported,
    each_imported,
    exchange,
    fields,
    form_of,
    json_bytes,
    text_bytes,
)
from buffr.interchange.source import Source, SourceError, shaped
from buffr.message import Headers

__all__ = ["LACKS", "read"]

LACKS = (
    "header fields that Postman adds when it sends",
    "bodies that are not text",
    "where a body was cut, and when its pieces came",
    "times of recordings",
)


class _Field(msgspec.Struct):
    key: str = ""
    value: str | None = None
    disabled: bool = False


class _Body(msgspec.Struct):
    mode: str = ""
    raw: str = ""
    urlencoded: list[_Field] = []
    graphql: Any = None


class _URL(msgspec.Struct):
    raw: str = ""


class _Request(msgspec.Struct):
    method: str = "GET"
    url: _URL | str = ""
    header: list[_Field] | str | None = None
    body: _Body | None = None


class _Example(msgspec.Struct):
    originalRequest: _Request | None = None  # Postman's names
    code: int | None = None
    status: str | None = None
    header: list[_Field] | None = None
    body: str | None = None


class _Item(msgspec.Struct):
    item: list[_Item] | None = None
    request: _Request | str | None = None
    response: list[_Example] = []


class _Variable(msgspec.Struct):
    key: str = ""
    value: Any = ""


class _Collection(msgspec.Struct):
    item: list[_Item]
    variable: list[_Variable] = []


def read(source: Source) -> Iterator[Imported | NotImported]:
    """The examples of a collection, in their order. Raises ``SourceError``."""
    try:
        collection = shaped(source.whole(), _Collection)
    except NotImported as error:
        raise SourceError(f"{source.path}: {error.message}") from error
    variables = {each.key: str(each.value) for each in collection.variable}
    examples = (
        (item, example)
        for item in _requests(collection.item, source.limits.depth)
        for example in item.response
    )
    yield from each_imported(examples, lambda pair: _imported(*pair, variables))


def _requests(items: list[_Item], depth: int) -> Iterator[_Item]:
    for item in items:
        if item.item is not None and depth:
            yield from _requests(item.item, depth - 1)
        elif item.request is not None:
            yield item


def _imported(item: _Item, example: _Example, variables: dict[str, str]) -> Imported:
    given = example.originalRequest or item.request
    if isinstance(given, str) or given is None:
        given = _Request(url=given or "")
    if example.code is None:
        raise NotImported("its example has no status")
    url = given.url if isinstance(given.url, str) else given.url.raw
    for name, value in variables.items():
        url = url.replace("{{" + name + "}}", value)
    if "{{" in url:
        raise NotImported(f"its URL {url!r} has a variable without a value")
    if "://" not in url:
        url = f"http://{url}"
    header = given.header if isinstance(given.header, list) else []
    asked = Asked(given.method, url, _fields(header), _body(given.body))
    body = text_bytes(example.body or "")
    answer = Answer(example.code, _fields(example.header or []), body, reason=example.status)
    return exchange(asked, answer)


def _fields(given: list[_Field]) -> Headers:
    return fields((each.key, each.value or "") for each in given if not each.disabled)


def _body(body: _Body | None) -> bytes | None:
    if body is None or not body.mode:
        return b""
    if body.mode == "raw":
        return text_bytes(body.raw)
    if body.mode == "urlencoded":
        pairs = [(each.key, each.value or "") for each in body.urlencoded if not each.disabled]
        return form_of(pairs).encode()
    if body.mode == "graphql":
        return json_bytes(body.graphql)
    return None
