"""Shapes of values in a source, and how models are read from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from attrs import frozen

from buffr.config.problems import Problems, did_you_mean, shown_key
from buffr.config.schema import Branch, Kind, Setting, Shape, made, settings_of, short_of, tree_of
from buffr.config.written import Broken, Entry, Listing, Scalar, Table, Tag, Written

__all__ = [
    "LINES",
    "Draft",
    "Drafted",
    "Given",
    "ListOf",
    "MapOf",
    "NamedRows",
    "Rows",
    "Rules",
    "Section",
    "overlay",
    "read_table",
]


@frozen
class Given:
    """A value from some source. ``broken``: reported as a problem, and ``value`` is unusable."""

    at: str
    value: Any
    broken: bool = False


def read_table(
    model: type, written: Written, path: str, problems: Problems
) -> dict[str, Given] | None:
    """The values of a model's fields in a mapping, by field name; ``None`` if it is not a mapping.

    A model's ``refuses`` maps keys of other models to the reason they are not accepted.
    """
    given: dict[str, Given] = {}
    refuses = getattr(model, "refuses", {})
    if not _read_branch(tree_of(model), refuses, written, path, problems, given):
        return None
    for declared in settings_of(model):
        if declared.is_required and declared.name not in given:
            text = f"is missing; must be {declared.shape.allowed}"
            problems.error(written.at, _joined(path, declared.key), text)
    return given


def _read_branch(
    branch: Branch,
    refuses: Mapping[str, str],
    written: Written,
    path: str,
    problems: Problems,
    given: dict[str, Given],
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
                _refuse_key(branch, refuses, entry, inner, problems)
            case Setting() as declared:
                value = _given(declared, entry.value, inner, problems)
                if value is not None:
                    given[declared.name] = value
            case deeper:
                _read_deeper(deeper, entry.value, inner, problems, given)
    return True


def _read_deeper(
    branch: Branch, written: Written, path: str, problems: Problems, given: dict[str, Given]
) -> None:
    """A branch below another: a mapping, nothing, or a word for its short setting."""
    if isinstance(written, Scalar):
        if written.tag is Tag.NULL:
            return
        short = short_of(branch)
        if short is not None:
            value = _given(short, written, path, problems)
            if value is not None:
                given[short.name] = value
            return
    _read_branch(branch, {}, written, path, problems, given)


def _refuse_key(
    branch: Branch, refuses: Mapping[str, str], entry: Entry, path: str, problems: Problems
) -> None:
    if entry.key in refuses:
        problems.error(entry.at, path, refuses[entry.key])
        return
    near = did_you_mean(entry.key, branch)
    problems.error(entry.at, path, f"unknown key{near or '; must be one of ' + ', '.join(branch)}")


def _given(declared: Setting, written: Written, path: str, problems: Problems) -> Given | None:
    """The value; ``None`` if the key is there but has no value."""
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
    """The values of a model's fields in variables or flags, by field name.

    ``shapes`` maps a name in ``source`` to its name in messages, the setting,
    and the shape that reads it.
    """
    given = {}
    for name, (at, declared, shape) in shapes.items():
        if name in source:
            path = _joined(prefix, declared.key or declared.name)
            value = shape.read(Scalar(at, source[name]), path, problems)
            given[declared.name] = Given(at, value, broken=value is None)
    return given


T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Whole = TypeVar("Whole")

_SEPARATOR = re.compile(r"[,\s]+")
LINES = re.compile(r"\n+")
"""Separates values that may contain commas and spaces."""


@frozen
class Section(Generic[T_co]):
    """A mapping that is read into a nested model.

    A single word in its place sets the key ``word``.
    """

    model: type[T_co]
    word: str = ""
    empty_ok = True

    @property
    def allowed(self) -> str:
        return f"a mapping, or a word for its {self.word}" if self.word else "a mapping"

    def read(self, written: Written, path: str, problems: Problems) -> T_co | None:
        if self.word and isinstance(written, Scalar) and written.tag is not Tag.NULL:
            written = Table(written.at, (Entry(written.at, self.word, written),))
        found = len(problems.errors)
        given = read_table(self.model, written, path, problems)
        if given is None or len(problems.errors) > found:
            return None
        if any(one.broken for one in given.values()):
            return None
        return made(self.model, {name: one.value for name, one in given.items()})


@frozen
class ListOf(Generic[T, Whole]):
    """A list of single values, or one of them; ``whole`` turns them into the setting's value.

    In a variable or a flag, the values are separated by commas or white space,
    or as ``separator`` says.
    """

    item: Shape[T]
    whole: Callable[[tuple[T, ...]], Whole]
    least: int = 0
    separator: re.Pattern[str] = _SEPARATOR
    empty_ok = True

    @property
    def allowed(self) -> str:
        return f"a list (or one) of: {self.item.allowed}"

    def read(self, written: Written, path: str, problems: Problems) -> Whole | None:
        if isinstance(written, Listing):
            read = [
                self.item.read(item, f"{path}[{index}]", problems)
                for index, item in enumerate(written.items)
            ]
        elif isinstance(written, Table):
            problems.error(written.at, path, f"is a mapping; must be {self.allowed}")
            return None
        elif isinstance(written, Scalar) and written.tag is Tag.UNTYPED:
            read = [
                self.item.read(Scalar(written.at, word), path, problems)
                for word in self.separator.split(written.text)
                if word
            ]
        else:
            read = [self.item.read(written, path, problems)]
        items = tuple(item for item in read if item is not None)
        if len(items) < len(read):
            return None
        if len(items) < self.least:
            problems.error(written.at, path, f"is empty; must be {self.allowed}")
            return None
        return self.whole(items)


Key = TypeVar("Key")
Value = TypeVar("Value")


@frozen
class MapOf(Generic[Key, Value, Whole]):
    """A mapping of single values; ``whole`` turns its pairs, in order, into the setting's value."""

    key: Kind[Key]
    value: Kind[Value]
    whole: Callable[[tuple[tuple[Key, Value], ...]], Whole]
    empty_ok = True

    @property
    def allowed(self) -> str:
        return f"a mapping of {self.key.allowed} to {self.value.allowed}"

    def read(self, written: Written, path: str, problems: Problems) -> Whole | None:
        if isinstance(written, Broken):
            return None
        if not isinstance(written, Table):
            problems.error(written.at, path, f"must be {self.allowed}")
            return None
        pairs = []
        for entry in written.entries:
            inner = f"{path}.{entry.key}"
            key = self.key.read(Scalar(entry.at, entry.key), inner, problems)
            value = self.value.read(entry.value, inner, problems)
            if key is not None and value is not None:
                pairs.append((key, value))
        return self.whole(tuple(pairs)) if len(pairs) == len(written.entries) else None


@frozen
class Draft:
    """A mapping as written: fields by name, before any defaults."""

    at: str
    path: str
    given: dict[str, Given]
    broken: bool = False


@frozen
class Drafted:
    """A mapping whose defaults depend on other settings, so it is read as a draft first."""

    model: type
    allowed = "a mapping"
    empty_ok = True

    def read(self, written: Written, path: str, problems: Problems) -> Draft | None:
        given = read_table(self.model, written, path, problems)
        return None if given is None else Draft(written.at, path, given)


@frozen
class Rows:
    """A list of mappings whose defaults depend on each other, so drafts are read first."""

    model: type
    allowed = "a list of mappings"
    empty_ok = True

    def read(self, written: Written, path: str, problems: Problems) -> tuple[Draft, ...] | None:
        if isinstance(written, Broken):
            return None
        if not isinstance(written, Listing):
            problems.error(written.at, path, f"must be {self.allowed}, each after a '-'")
            return None
        drafts = []
        for index, item in enumerate(written.items):
            inner = f"{path}[{index}]"
            given = read_table(self.model, item, inner, problems)
            drafts.append(Draft(item.at, inner, given or {}, broken=given is None))
        return tuple(drafts)


@frozen
class NamedRows:
    """A mapping of names to mappings, read as drafts; ``name`` is a field of each."""

    model: type
    name: Shape[str]
    allowed = "a mapping of names to mappings"
    empty_ok = True

    def read(self, written: Written, path: str, problems: Problems) -> tuple[Draft, ...] | None:
        if isinstance(written, Broken):
            return None
        if not isinstance(written, Table):
            problems.error(written.at, path, f"must be {self.allowed}")
            return None
        drafts = []
        for entry in written.entries:
            inner = f"{path}.{shown_key(entry.key)}"
            name = self.name.read(Scalar(entry.at, entry.key), inner, problems)
            given = read_table(self.model, entry.value, inner, problems)
            named = (given or {}) | {"name": Given(entry.at, name, broken=name is None)}
            drafts.append(Draft(entry.at, inner, named, broken=given is None))
        return tuple(drafts)


@frozen
class Rules(Generic[T_co]):
    """A list of mappings, each a rule; an invalid one ``skips`` with a warning, or is an error."""

    model: type[T_co]
    skips: bool = True
    allowed = "a list of mappings"
    empty_ok = True

    def read(self, written: Written, path: str, problems: Problems) -> tuple[T_co, ...] | None:
        if isinstance(written, Broken):
            return None
        if not isinstance(written, Listing):
            problems.error(written.at, path, f"must be {self.allowed}, each after a '-'")
            return None
        rules = []
        for index, item in enumerate(written.items):
            own = Problems()
            rule = Section(self.model).read(item, f"{path}[{index}]", own)
            if rule is not None:
                rules.append(rule)
            if self.skips:
                problems.warnings += [f"{line}; the rule is skipped" for line in own.errors]
            else:
                problems.errors += own.errors
        return tuple(rules)
