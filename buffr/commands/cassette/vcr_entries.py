"""The interactions of a VCR.py file, and of its relatives, as far as a scan needs them.

They differ in names: ``uri`` or ``url``, a body that is a text, or an object
with ``string``, ``base64_string`` or ``content``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from buffr.commands.cassette.entry import (
    Entry,
    as_json,
    exchange,
    fields,
    from_base64,
    mapping,
    read_text,
    rest_of,
    to_bytes,
    within_bounds,
)
from buffr.commands.cassette.har_entries import json_document, lines_of
from buffr.errors import CassetteError
from buffr.message import ResponseHead

__all__ = ["vcr_entries_json", "vcr_entries_yaml"]

_LISTS = ("interactions", "http_interactions")
_BINARY = "tag:yaml.org,2002:binary"

_Base: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class _Loader(_Base):  # type: ignore[misc]  # one of two classes
    """Text, lists and objects: nothing in the file makes anything else."""


def _binary(loader: Any, node: Any) -> bytes:
    return from_base64(loader.construct_scalar(node))


_Loader.add_constructor(_BINARY, _binary)


def vcr_entries_json(path: Path) -> Iterator[Entry]:
    """The interactions, in order. Raises ``CassetteError``."""
    document, text = json_document(path)
    name = next((name for name in _LISTS if name in mapping(document)), _LISTS[0])
    interactions = mapping(document).get(name)
    lines = lines_of(text, name, len(interactions) if isinstance(interactions, list) else 0)
    yield from _entries(path, dict(mapping(document)), lines)


def vcr_entries_yaml(path: Path) -> Iterator[Entry]:
    """The interactions, in order. Raises ``CassetteError``."""
    text = read_text(path)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            document = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:  # its text may quote the file's
        mark = error.problem_mark
        where = "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"
        raise CassetteError(f"{path}{where}: it is not YAML") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise CassetteError(f"{path}: it is not YAML that can be read") from None
    if not within_bounds(document, len(text)):
        raise CassetteError(f"{path}: it is nested too deeply, or its aliases stand for too much")
    yield from _entries(path, dict(mapping(document)), _lines(node))


def _lines(node: Any) -> list[int]:
    with suppress(AttributeError, TypeError, ValueError):
        for name, value in node.value:
            if name.value in _LISTS:
                return [one.start_mark.line + 1 for one in value.value]
    return []


def _entries(path: Path, document: dict[str, Any], lines: list[int]) -> Iterator[Entry]:
    name = next((name for name in _LISTS if name in document), _LISTS[0])
    interactions = document.pop(name, None) or []
    if not isinstance(interactions, list):
        raise CassetteError(f"{path}: {name} must be a list")
    yield Entry(None, 1, None, rest_of("head", document))
    lines += [1] * (len(interactions) - len(lines))
    for number, (one, line) in enumerate(zip(interactions, lines, strict=False)):
        yield _entry(number, line, dict(mapping(one)))


def _entry(number: int, line: int, one: dict[str, Any]) -> Entry:
    request = one["request"] = dict(mapping(one.get("request")))
    response = one["response"] = dict(mapping(one.get("response")))
    asked, answered = fields(request.pop("headers", ())), fields(response.pop("headers", ()))
    question, answer = _body(request.pop("body", b"")), _body(response.pop("body", b""))
    status = response.get("status")
    reason = to_bytes(mapping(status).get("message"))
    url = to_bytes(request.pop("uri", request.pop("url", b"")))
    method = to_bytes(request.pop("method", b""))
    made, texts = exchange(method, url, asked, question, ResponseHead(0, reason, answered), answer)
    return Entry(number, line, made, (*texts, *rest_of("interaction", one)))


def _body(value: Any) -> bytes:
    held = mapping(value)
    if not held:
        return to_bytes(value)
    if "base64_string" in held:
        return from_base64(held["base64_string"])
    inner = held.get("string", held.get("content", b""))
    if isinstance(inner, dict | list):
        return as_json(inner)
    return to_bytes(inner)
