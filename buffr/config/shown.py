"""Settings as data for display, with secrets masked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from buffr.config.schema import Kind, Setting, settings_of
from buffr.config.shapes import MapOf, NamedRows

__all__ = ["MASK", "as_data"]

MASK = "[REDACTED]"


def as_data(model: Any, path: str = "") -> tuple[dict[str, Any], list[str]]:
    """A model's settings by key, as JSON data, and the paths of the masked ones."""
    data: dict[str, Any] = {}
    masked: list[str] = []
    kind: Any = type(model)
    for one in settings_of(kind):
        if not one.key:
            continue
        holder = getattr(model, one.within) if one.within else model
        value = getattr(holder, one.name)
        if value is not None:
            inner = f"{path}.{one.key}" if path else one.key
            _put(data, one.key, _shown(one, value, inner, masked))
    return data, masked


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    data[leaf] = value


def _shown(one: Setting, value: Any, path: str, masked: list[str]) -> Any:
    if isinstance(one.shape, Kind) and one.shape.secret:
        masked.append(path)
        return MASK
    if isinstance(one.shape, NamedRows):
        rows = {row.name: row for row in value}
        return {name: _nested(row, f"{path}.{name}", masked) for name, row in rows.items()}
    if _is_model(value):
        return _nested(value, path, masked)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(one.shape, Kind):
        return one.shape.show(value)
    if isinstance(one.shape, MapOf):
        show = one.shape.key.show, one.shape.value.show
        return {show[0](key): show[1](inner) for key, inner in value}
    if isinstance(value, Iterable):
        return [
            _nested(item, f"{path}[{index}]", masked) if _is_model(item) else _text(item)
            for index, item in enumerate(value)
        ]
    return _text(value)


def _is_model(value: Any) -> bool:
    kind: Any = type(value)
    return attrs.has(kind) and bool(settings_of(kind))


def _nested(model: Any, path: str, masked: list[str]) -> dict[str, Any]:
    data, inner = as_data(model, path)
    masked += inner
    return data


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
