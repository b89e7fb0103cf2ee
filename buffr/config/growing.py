"""Adds rules for matching to the text of a settings file, of which nothing else changes.

Comments, quotes and the order stay as they are, because entries are inserted
where YAML's own parser says that their neighbours end; nothing is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from attrs import evolve, frozen

from buffr.config.kinds import HOST_PATTERN
from buffr.config.loading import written_of
from buffr.config.problems import Problems
from buffr.config.route import MatchSettings
from buffr.config.schema import Refused
from buffr.config.shapes import read_table
from buffr.config.written import Scalar
from buffr.errors import ConfigError
from buffr.formats.yaml_lines import Data, block, flow
from buffr.policy.hosts import HostTable

__all__ = ["Rules", "Where", "grown", "row_at", "with_entries", "with_rules", "with_rules_at"]

Rules = Mapping[str, Sequence[Data]]
"""The lists below ``match`` to add to, each with what to add."""

_NOTHING = re.compile(r"(?:~|null|Null|NULL)?")
_COMMENT = re.compile(r"#[^\n]*")
_BY_HAND = "paste the rules of the report by hand"


@frozen
class _Edit:
    """A stretch of the text, and what replaces it."""

    start: int
    end: int
    text: str


@frozen
class _Row:
    """A row of ``forward.hosts``."""

    host: str
    node: yaml.MappingNode


Where = Sequence[str | int]
"""Where a row stands in a settings file: keys, and numbers in lists."""


def with_rules_at(text: str, where: Where, rules: Rules) -> str:
    """The settings with rules for the row at a place, such as ``("reverse", 0)``.

    ``text`` is valid YAML. Raises ``ConfigError`` if there is no such row, or
    an alias is in the way.
    """

    def edits(text: str) -> Iterator[_Edit]:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        for key in where:
            node = _value(node, key) if isinstance(key, str) else _item(node, key)
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{'.'.join(map(str, where))} is not in the file", hint=_BY_HAND)
        return _Growing(text).mapping(node, {"match": rules})

    return _in_lines_of(text, lambda plain: _edited(plain, edits(plain)))


def row_at(text: str, key: str, fits: Callable[[Mapping[str, str]], bool]) -> int | None:
    """The number of the first row of a list that fits by its plain values, if one does."""
    rows = _value(yaml.compose(text, Loader=yaml.SafeLoader), key)
    for number, row in enumerate(rows.value if isinstance(rows, yaml.SequenceNode) else ()):
        if isinstance(row, yaml.MappingNode) and fits(_plain(row)):
            return number
    return None


def _plain(row: yaml.MappingNode) -> dict[str, str]:
    return {
        name.value: value.value
        for name, value in row.value
        if isinstance(name, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)
    }


def grown(settings: MatchSettings, rules: Mapping[str, Any]) -> MatchSettings:
    """The settings with more rules; those that are there already are not added again.

    Raises ``ConfigError``, with a line for each problem.
    """
    problems = Problems()
    written = written_of(rules, "match", 0, problems)
    given = read_table(MatchSettings, written, "match", problems)
    wrong = [*problems.errors, *problems.warnings]
    if wrong or given is None:
        raise ConfigError("\n".join(wrong))
    more: dict[str, Any] = {}
    for name, one in given.items():
        known = getattr(settings, name)
        more[name] = (*known, *(value for value in one.value if value not in known))
    return evolve(settings, **more)


def with_rules(text: str, host: str, rules: Rules) -> str:
    """The settings with rules for requests to a host behind the forward proxy.

    They are added where the host's rules are: in its row, or if it has no
    rules of its own in ``forward.match``. If there are none at all, the host
    gets a row. ``text`` is valid YAML. Raises ``ConfigError`` where an entry
    is an alias, since adding to it would change other entries too.
    """
    return _in_lines_of(text, lambda plain: _grown(plain, host, rules))


def with_entries(text: str, more: Mapping[str, Data]) -> str:
    """The settings with more entries at the top level, and below those that are there.

    ``text`` is valid YAML. Raises ``ConfigError`` if an alias is in the way.
    """

    def changed(text: str) -> str:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(root, yaml.MappingNode):
            return _edited(text, _Growing(text).mapping(root, more))
        ended = text + "\n" * (text[-1:] not in ("", "\n"))
        return ended + "".join(f"{line}\n" for line in block(more))

    return _in_lines_of(text, changed)


def _in_lines_of(text: str, change: Callable[[str], str]) -> str:
    """The changed text, with line ends as the text had them."""
    ends_as_in_dos = "\r\n" in text and text.count("\r\n") == text.count("\n")
    plain = text.replace("\r\n", "\n") if ends_as_in_dos else text
    changed = change(plain)
    return changed.replace("\n", "\r\n") if ends_as_in_dos else changed


def _grown(text: str, host: str, rules: Rules) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return with_entries(text, {"forward": {"hosts": [{"host": host, "match": rules}]}})
    forward = _value(root, "forward")
    row = HostTable(_rows(forward)).find(host)
    shared = _value(forward, "match") is not None
    if row is not None and (_value(row.node, "match") is not None or not shared):
        grown = _Growing(text).mapping(row.node, {"match": rules})
    elif shared:
        grown = _Growing(text).mapping(root, {"forward": {"match": rules}})
    else:
        new: dict[str, Data] = {"forward": {"hosts": [{"host": host, "match": rules}]}}
        grown = _Growing(text).mapping(root, new)
    return _edited(text, grown)


def _edited(text: str, edits: Iterable[_Edit]) -> str:
    # From the end on; of several at one place the last first, to stand behind the others.
    for edit in sorted(edits, key=lambda edit: edit.start)[::-1]:
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _item(node: yaml.Node | None, number: int) -> yaml.Node | None:
    if not isinstance(node, yaml.SequenceNode) or number >= len(node.value):
        return None
    found: yaml.Node = node.value[number]
    return found


def _rows(forward: yaml.Node | None) -> Iterator[_Row]:
    hosts = _value(forward, "hosts")
    for node in hosts.value if isinstance(hosts, yaml.SequenceNode) else ():
        host = _value(node, "host")
        if isinstance(node, yaml.MappingNode) and isinstance(host, yaml.ScalarNode):
            try:
                yield _Row(HOST_PATTERN.parse(Scalar("", host.value)), node)
            except Refused:
                continue


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """The value of a key; ``None`` if it has none."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == key and not _is_null(value):
                found: yaml.Node = value
                return found
    return None


def _is_null(node: yaml.Node) -> bool:
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return is_plain and _NOTHING.fullmatch(node.value) is not None


def _is_empty(node: yaml.Node) -> bool:
    return _is_null(node) or (isinstance(node, yaml.CollectionNode) and not node.value)


@frozen
class _Growing:
    """Finds the edits that add entries to the collections of a text."""

    text: str

    def mapping(self, node: yaml.Node, more: Mapping[str, Data]) -> Iterator[_Edit]:
        """Add these entries, and what lies below those that are there already."""
        assert isinstance(node, yaml.MappingNode)
        there = {key.value: (key, value) for key, value in node.value}
        new = {key: data for key, data in more.items() if key not in there}
        for key, data in more.items():
            if key in there:
                name, value = there[key]
                _refuse_alias(name, value)
                yield from self._value(node, name, value, data)
        if new:
            entries = [f"{key}: {flow(data)}" for key, data in new.items()]
            yield self._entries(node, node.value[-1] if node.value else None, entries, block(new))

    def _value(
        self, parent: yaml.MappingNode, key: yaml.Node, value: yaml.Node, data: Data
    ) -> Iterator[_Edit]:
        start, end = value.start_mark.index, value.end_mark.index
        if _is_empty(value) and not parent.flow_style:
            indent = "\n" + " " * (key.start_mark.column + 2)
            if start != end:
                yield _Edit(len(self.text[:start].rstrip(" ")), end, "")
            at = self._end_of_line(end)
            yield _Edit(at, at, "".join(indent + line for line in block(data)))
        elif _is_empty(value):
            yield _Edit(start, end, ("" if start != end else " ") + flow(data))
        elif isinstance(value, yaml.MappingNode):
            assert isinstance(data, Mapping)
            yield from self.mapping(value, data)
        elif isinstance(value, yaml.SequenceNode):
            assert isinstance(data, Sequence)
            yield from self._sequence(value, data)
        elif isinstance(data, Mapping):  # match: vcr
            yield _Edit(start, end, flow({"preset": value.value, **data}))
        else:  # json: $.id
            assert not isinstance(data, str)
            yield _Edit(start, end, flow([value.value, *_others(data, [value])]))

    def _sequence(self, node: yaml.SequenceNode, more: Sequence[Data]) -> Iterator[_Edit]:
        new = _others(more, node.value)
        if new:
            last = (None, node.value[-1]) if node.value else None
            yield self._entries(node, last, list(map(flow, new)), block(new))

    def _entries(
        self,
        node: yaml.CollectionNode,
        last: tuple[yaml.Node | None, yaml.Node] | None,
        entries: list[str],
        lines: list[str],
    ) -> _Edit:
        """Add to the end of a collection: ``entries`` within brackets, or ``lines``."""
        if node.flow_style:
            close = node.end_mark.index - 1
            end = close if last is None else self._end(*last)
            is_open = last is None or "," in _COMMENT.sub("", self.text[end:close])
            return _Edit(close, close, ("" if is_open else ", ") + ", ".join(entries))
        assert last is not None  # a block has an entry
        at = self._end_of_line(self._end(*last))
        indent = "\n" + " " * self._column(node)
        return _Edit(at, at, "".join(indent + line for line in lines))

    def _end_of_line(self, index: int) -> int:
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found

    def _end(self, key: yaml.Node | None, value: yaml.Node) -> int:
        """Where an entry's own text ends; the parser's mark is behind comments that follow."""
        if key is not None:
            _refuse_alias(key, value)
        if isinstance(value, yaml.CollectionNode) and not value.flow_style and value.value:
            last = value.value[-1]
            return self._end(*last) if isinstance(last, tuple) else self._end(None, last)
        return len(self.text[: value.end_mark.index].rstrip())

    def _column(self, node: yaml.CollectionNode) -> int:
        """Where the keys of a block mapping or the dashes of a block sequence stand."""
        first = node.value[0]
        if isinstance(first, tuple):
            column: int = first[0].start_mark.column
            return column
        before = self.text[: first.start_mark.index].rstrip(" ")
        if not before.endswith("-"):  # a comment or an alias in between
            raise ConfigError("the list has an unusual layout", hint=_BY_HAND)
        return len(before) - 1 - (before.rfind("\n") + 1)


def _refuse_alias(key: yaml.Node, value: yaml.Node) -> None:
    if value.start_mark.index < key.end_mark.index:
        line = key.start_mark.line + 1
        raise ConfigError(f"line {line} has an alias, which stands for others too", hint=_BY_HAND)


def _others(more: Sequence[Data], there: Sequence[yaml.Node]) -> list[Data]:
    """Those that are not among the entries that are there."""
    known = [_data(node) for node in there]
    return [data for data in more if data not in known]


def _data(node: yaml.Node) -> Data:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _data(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_data(item) for item in node.value]
    return str(node.value)
