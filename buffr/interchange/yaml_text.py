"""YAML of other tools, read within bounds, and without the objects that it may ask for."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from buffr.interchange.source import ImportLimits, SourceError

__all__ = ["read_yaml"]

_BINARY = "tag:yaml.org,2002:binary"
_BASE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BASE):  # type: ignore[misc,valid-type]
    """Times stay text, and the tags that VCR.py once wrote are plain values."""


def _text(loader: Any, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    return text


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)
_Loader.add_constructor("tag:yaml.org,2002:python/unicode", _text)
_Loader.add_constructor("tag:yaml.org,2002:python/str", _text)
_Loader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node)
)
_Loader.add_constructor(_BINARY, SafeConstructor.construct_yaml_binary)
_Loader.add_constructor("!binary", SafeConstructor.construct_yaml_binary)


def read_yaml(data: bytes, name: str, limits: ImportLimits) -> Any:
    """The one document of a file. Raises ``SourceError``."""
    try:
        _check(data, name, limits)
        return yaml.load(data, Loader=_Loader)  # noqa: S506  # it makes no objects
    except ConstructorError as error:
        raise SourceError(f"{name}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        raise SourceError(f"{name}{line}: it is not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise SourceError(f"{name}: it is not YAML: {error}") from error


def _check(data: bytes, name: str, limits: ImportLimits) -> None:
    """Refuse what is nested too deeply or refers back too often, before values are made."""
    if data.count(b"*") <= limits.aliases and not _may_be_deep(data, limits.depth):
        return
    depth = aliases = 0
    for event in yaml.parse(data, Loader=_BASE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        if depth > limits.depth:
            raise SourceError(f"{name}: it is nested more than {limits.depth} deep")
        if aliases > limits.aliases:
            raise SourceError(f"{name}: it has more than {limits.aliases} aliases")


def _may_be_deep(data: bytes, depth: int) -> bool:
    """Whether it has so many brackets or so much indentation that it could be."""
    return data.count(b"[") + data.count(b"{") > depth or b"\n" + b" " * depth in data
