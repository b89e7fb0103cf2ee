"""JSONPaths (RFC 9535): what they select in JSON documents, and documents without that.

Most paths are followed step by step, so the document need not be in memory as
a whole. Paths with filters, and those that count from the end of an array, are
evaluated by the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

from attrs import Factory, define, frozen

from buffr.formats.json_text import Place

__all__ = ["NOWHERE", "BadPath", "JSONPath", "Walk", "both", "take_out", "walk_along", "walk_to"]

_DEEPEST = 256
"""The depth limit of the library's ``..``: deeper than documents that are compared."""


class BadPath(ValueError):
    """An invalid path; the message says why."""


class _Found(Protocol):
    location: Place


class _Compiled(Protocol):
    def finditer(self, data: Any) -> Iterable[_Found]: ...


@frozen
class _Step:
    """What one segment of a path selects; ``deep``: at any depth (``..``)."""

    deep: bool
    names: frozenset[str] = frozenset()
    ranges: tuple[range, ...] = ()
    everything: bool = False

    def takes(self, index: int) -> bool:
        return self.everything or any(index in each for each in self.ranges)


@frozen(eq=False)
class JSONPath:
    """A valid path. ``steps`` are ``None`` if it needs the whole document."""

    text: str
    _compiled: _Compiled
    steps: tuple[_Step, ...] | None
    _too_deep: type[Exception]

    @classmethod
    def of(cls, path: str) -> JSONPath:
        """Raises ``BadPath``; ``ImportError`` if the library is missing."""
        # Few settings have paths.
        library: Any = import_module("jsonpath_rfc9535")
        environment = library.JSONPathEnvironment()
        environment.max_recursion_depth = _DEEPEST
        try:
            compiled = environment.compile(path)
        except library.JSONPathError as error:
            raise BadPath(str(error.args[0]) if error.args else "not a valid path") from error
        except (OverflowError, ValueError) as error:
            raise BadPath("a number that is too large") from error
        return cls(path, compiled, _steps(str(compiled)), library.JSONPathRecursionError)

    def places(self, document: Any) -> set[Place]:
        """The places that it selects in a document.

        Paths without steps follow ``..`` for up to ``_DEEPEST`` levels; in a
        deeper document they select what they reached.
        """
        found: set[Place] = set()
        if self.steps is not None:
            found.update(_places_along(walk_along((self,)), document))
        else:
            with suppress(RecursionError, self._too_deep):
                for one in self._compiled.finditer(document):
                    found.add(one.location)
        return found


_LONGEST_ARRAY = 2**53
_SELECTOR = r"'(?:[^'\\]|\\.)*'|\*|\d*:\d*:[1-9]\d*|\d+"
_match_segment = re.compile(rf"(\.\.)?\[((?:{_SELECTOR})(?:, (?:{_SELECTOR}))*)\]", re.DOTALL).match
_selectors = re.compile(_SELECTOR, re.DOTALL).findall
_quote_or_escape = re.compile(r"\\.|\"", re.DOTALL)


def _steps(canonical: str) -> tuple[_Step, ...] | None:
    """The segments of a path in the library's canonical form: ``$['a'][0, 2:8:2]..[*]``.

    ``None`` if some cannot be followed step by step: filters, and indices from
    the end of an array.
    """
    steps: list[_Step] = []
    at = 1
    while at < len(canonical):
        segment = _match_segment(canonical, at)
        if segment is None:
            return None
        steps.append(_step(segment[1] is not None, _selectors(segment[2])))
        at = segment.end()
    return tuple(steps)


def _step(deep: bool, selectors: list[str]) -> _Step:  # noqa: FBT001  # one segment's parts
    names = frozenset([_name(each) for each in selectors if each[0] == "'"])
    ranges = tuple([_range(each) for each in selectors if each[0] not in "'*"])
    return _Step(deep, names, ranges, "*" in selectors)


def _name(quoted: str) -> str:
    """A name in single quotes, with JSON's escapes except for the quotes."""
    swapped = {"\\'": "'", '"': '\\"'}
    inner = _quote_or_escape.sub(lambda found: swapped.get(found[0], found[0]), quoted[1:-1])
    return str(json.loads(f'"{inner}"'))


def _range(selector: str) -> range:
    start, *rest = selector.split(":")
    if not rest:
        return range(int(start), int(start) + 1)
    stop, step = rest
    return range(int(start or 0), int(stop or _LONGEST_ARRAY), int(step))


class Walk(Protocol):
    """What is selected inside a value of a document, and at the value itself.

    ``ends``: the value is selected. ``idle``: nothing inside it is. ``names``
    are the members that may contain a selection; ``None`` for any. ``wanted``
    are names of which one must occur somewhere inside, or nothing is selected;
    ``None`` without such a condition. ``alike``: the walk is the same for each
    element of an array.
    """

    @property
    def ends(self) -> bool: ...
    @property
    def idle(self) -> bool: ...
    @property
    def names(self) -> frozenset[str] | None: ...
    @property
    def wanted(self) -> frozenset[str] | None: ...
    @property
    def alike(self) -> bool: ...
    def member(self, name: str) -> Walk: ...
    def element(self, index: int) -> Walk: ...


_Position = tuple[int, int]
"""The number of a path, and that of its next step."""


@define(eq=False)
class _Paths:
    steps: tuple[tuple[_Step, ...], ...]
    walks: dict[frozenset[_Position], _WalkAlong] = Factory(dict)

    def at(self, positions: frozenset[_Position]) -> _WalkAlong:
        walk = self.walks.get(positions)
        if walk is None:
            walk = self.walks[positions] = _WalkAlong(self, positions)
        return walk


class _WalkAlong:
    """The progress of some paths."""

    def __init__(self, paths: _Paths, positions: frozenset[_Position]) -> None:
        self._paths = paths
        self._steps = [
            (path, number, paths.steps[path][number])
            for path, number in positions
            if number < len(paths.steps[path])
        ]
        steps = [step for _, _, step in self._steps]
        named = frozenset[str]().union(*[step.names for step in steps])
        self.ends = len(steps) < len(positions)
        self.idle = not steps
        self.names = None if any(step.deep or step.everything for step in steps) else named
        self.wanted = None if any(step.everything or step.ranges for step in steps) else named
        self.alike = not any(step.ranges for step in steps)
        self._named = named
        self._members: dict[str, _WalkAlong] = {}
        self._other: _WalkAlong | None = None

    def member(self, name: str) -> _WalkAlong:
        if name not in self._named:
            return self._elsewhere()
        walk = self._members.get(name)
        if walk is None:
            walk = self._next(lambda step: step.everything or name in step.names)
            self._members[name] = walk
        return walk

    def element(self, index: int) -> _WalkAlong:
        return self._elsewhere() if self.alike else self._next(lambda step: step.takes(index))

    def _elsewhere(self) -> _WalkAlong:
        if self._other is None:
            self._other = self._next(lambda step: step.everything)
        return self._other

    def _next(self, selects: Callable[[_Step], bool]) -> _WalkAlong:
        positions: set[_Position] = set()
        for path, number, step in self._steps:
            if selects(step):
                positions.add((path, number + 1))
            if step.deep:
                positions.add((path, number))
        return self._paths.at(frozenset(positions))


def walk_along(paths: Iterable[JSONPath]) -> Walk:
    """The walk from the root of a document, along the paths that have steps."""
    steps = tuple([path.steps for path in paths if path.steps is not None])
    return _Paths(steps).at(frozenset([(path, 0) for path in range(len(steps))]))


NOWHERE = walk_along(())


def _places_along(walk: Walk, document: Any) -> Iterator[Place]:
    """The places that a walk from the root of a document reaches, at any depth."""
    rest: list[tuple[Place, Any, Walk]] = [((), document, walk)]
    while rest:
        place, value, walk = rest.pop()
        if walk.ends:
            yield place
        if walk.idle:
            continue
        if isinstance(value, dict):
            rest += [((*place, name), inner, walk.member(name)) for name, inner in value.items()]
        elif isinstance(value, list):
            rest += [
                ((*place, index), inner, walk.element(index)) for index, inner in enumerate(value)
            ]


class _WalkTo:
    """The walk to known places."""

    def __init__(self) -> None:
        self.ends = False
        self._inner: dict[int | str, _WalkTo] = {}

    def add(self, place: Place) -> None:
        walk = self
        for part in place:
            walk = walk._inner.setdefault(part, _WalkTo())
        walk.ends = True

    @property
    def idle(self) -> bool:
        return not self._inner

    @property
    def names(self) -> frozenset[str]:
        return frozenset([part for part in self._inner if isinstance(part, str)])

    @property
    def wanted(self) -> frozenset[str] | None:
        return self.names if self.alike else None

    @property
    def alike(self) -> bool:
        return not any(isinstance(part, int) for part in self._inner)

    def member(self, name: str) -> Walk:
        return self._inner.get(name, NOWHERE)

    def element(self, index: int) -> Walk:
        return self._inner.get(index, NOWHERE)


def walk_to(places: Iterable[Place]) -> Walk:
    """The walk from the root of a document to these places."""
    walk = _WalkTo()
    for place in places:
        walk.add(place)
    return walk


@frozen
class _WalkUnion:
    one: Walk
    other: Walk

    @property
    def ends(self) -> bool:
        return self.one.ends or self.other.ends

    @property
    def idle(self) -> bool:
        return self.one.idle and self.other.idle

    @property
    def names(self) -> frozenset[str] | None:
        names, others = self.one.names, self.other.names
        return None if names is None or others is None else names | others

    @property
    def wanted(self) -> frozenset[str] | None:
        wanted, others = self.one.wanted, self.other.wanted
        return None if wanted is None or others is None else wanted | others

    @property
    def alike(self) -> bool:
        return self.one.alike and self.other.alike

    def member(self, name: str) -> Walk:
        return both(self.one.member(name), self.other.member(name))

    def element(self, index: int) -> Walk:
        return both(self.one.element(index), self.other.element(index))


def both(one: Walk, other: Walk) -> Walk:
    """The walk to everything that either walk reaches."""
    if one.idle and not one.ends:
        return other
    return one if other.idle and not other.ends else _WalkUnion(one, other)


def take_out(document: Any, walk: Walk) -> Any:
    """The document without what a walk from its root reaches. The argument is changed.

    A member is removed; an element is replaced by ``null``, so that the others
    keep their places, and so is the document itself. A scalar document is
    unchanged.
    """
    if not isinstance(document, dict | list):
        return document
    if walk.ends:
        return None
    if not walk.idle:
        _take_out_of(document, walk)
    return document


def _take_out_of(holder: Any, walk: Walk) -> None:
    if isinstance(holder, dict):
        names = walk.names
        for name in list(holder) if names is None else names:
            if name not in holder:
                continue
            inner = walk.member(name)
            if inner.ends:
                del holder[name]
            elif not inner.idle:
                _take_out_of(holder[name], inner)
    elif isinstance(holder, list):
        for index, value in enumerate(holder):
            inner = walk.element(index)
            if inner.ends:
                holder[index] = None
            elif not inner.idle:
                _take_out_of(value, inner)
