"""Reading written values by the settings that a model declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from buffr.config.problems import Problems, did_you_mean, shown_key
from buffr.config.schema import Branch, Setting, Shape, settings_of, tree_of
from buffr.config.yaml_text import Broken, Entry, Scalar, Table, Tag, Written

__all__ = ["Given", "overlay", "read_table"]


@frozen
class Given:
    """A value from some source. ``broken``: its problem is reported, and ``value`` says nothing."""

    at: str
    value: Any
    broken: bool = False


def read_table(
    model: type, written: Written, path: str, problems: Problems
) -> dict[str, Given] | None:
    """What a mapping gives for a model's fields, by their names; ``None`` if it is no mapping."""
    given: dict[str, Given] = {}
    if not _read_branch(tree_of(model), written, path, problems, given):
        return None
    for declared in settings_of(model):
        if declared.is_required and declared.name not in given:
            text = f"is missing; must be {declared.shape.allowed}"
            problems.error(written.at, _joined(path, declared.key), text)
    return given


def _read_branch(
    branch: Branch, written: Written, path: str, problems: Problems, given: dict[str, Given]
) -> bool:
    if isinstance(written, Broken):
        return False
    if not isinstance(written, Table):
        problems.error(written.at, path, f"must be a mapping with {', '.join(branch)}")
        return False
    for entry in written.entries:
        inner = _joined(path, shown_key(entry.key))
        match branch.get(entry.key):
            case None:
                _refuse_key(branch, entry, inner, problems)
            case Setting() as declared:
                value = _given(declared, entry.value, inner, problems)
                if value is not None:
                    given[declared.name] = value
            case deeper:
                if not (isinstance(entry.value, Scalar) and entry.value.tag is Tag.NULL):
                    _read_branch(deeper, entry.value, inner, problems, given)
    return True


def _refuse_key(branch: Branch, entry: Entry, path: str, problems: Problems) -> None:
    near = did_you_mean(entry.key, branch)
    problems.error(entry.at, path, f"unknown key{near or '; must be one of ' + ', '.join(branch)}")


def _given(declared: Setting, written: Written, path: str, problems: Problems) -> Given | None:
    """The value; ``None`` when the key is there and its value is left empty."""
    found = len(problems.errors)
    value = declared.read(written, path, problems)
    if value is None:
        broken = isinstance(written, Broken) or len(problems.errors) > found
        return Given(written.at, None, broken=True) if broken else None
    return Given(written.at, value)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def overlay(
    shapes: Mapping[str, tuple[str, Setting, Shape[object]]],
    source: Mapping[str, str],
    prefix: str,
    problems: Problems,
) -> dict[str, Given]:
    """What variables or flags give for a model's fields, by their names.

    ``shapes`` maps a name in ``source`` to what it is called in a message,
    the setting, and the shape that reads it.
    """
    given = {}
    for name, (at, declared, shape) in shapes.items():
        if name in source:
            path = _joined(prefix, declared.key or declared.name)
            value = shape.read(Scalar(at, source[name]), path, problems)
            given[declared.name] = Given(at, value, broken=value is None)
    return given
