"""Reads YAML as far as its node graph: no object is ever constructed.

So every value keeps its text (``0600`` stays ``0600``, ``on`` stays ``on``)
and its position.
"""

from __future__ import annotations

import re

import yaml

from buffr.config.problems import Problems, shown_key
from buffr.config.written import Broken, Entry, Listing, Scalar, Source, Table, Tag, Written

__all__ = ["compose"]

_PREFIX = "tag:yaml.org,2002:"
_MERGE = _PREFIX + "merge"
_TAGS = {
    _PREFIX + "str": Tag.TEXT,
    _PREFIX + "value": Tag.TEXT,
    _MERGE: Tag.TEXT,
    _PREFIX + "int": Tag.NUMBER,
    _PREFIX + "float": Tag.NUMBER,
    _PREFIX + "bool": Tag.BOOL,
    _PREFIX + "null": Tag.NULL,
    _PREFIX + "timestamp": Tag.DATE,
}
# These quote the user's text, which may be a secret that begins with * or &.
_NAMED = re.compile(r"(alias|anchor|handle) .*", re.DOTALL)
# YAML allows the escape "\ud800", half a character that no file name can contain.
_SURROGATE = re.compile("[\ud800-\udfff]")


def compose(text: str, source: Source, path: str, problems: Problems) -> Written | None:
    """The one document in a YAML text; ``None`` if it is empty.

    ``path`` is the key path of the text. Every problem is
    added to ``problems``: syntax, two documents, a key given twice, a merge
    key, a tag, an alias inside itself.
    """
    start = source.at(1)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return None
        written = _Conversion(source, problems).written(root, path)
        is_null = isinstance(written, Scalar) and written.tag is Tag.NULL
        return None if is_null else written
    except yaml.MarkedYAMLError as error:
        problems.error(_mark(error, source), path, f"not YAML: {_problem(error)}")
    except yaml.reader.ReaderError as error:
        position = int(error.position)
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        problems.error(source.at(line, column), path, "not YAML: a character that YAML forbids")
    except RecursionError:
        problems.error(start, path, "nested too deep")
    except (yaml.YAMLError, ValueError, OverflowError):
        # The scanner lets chr() fail on an escape such as "\Uffffffff".
        problems.error(start, path, "not YAML: an escape for an invalid character")
    return Broken(start)


def _mark(error: yaml.MarkedYAMLError, source: Source) -> str:
    mark = error.problem_mark or error.context_mark
    return source.at(mark.line + 1, mark.column + 1) if mark else source.at(1)


def _problem(error: yaml.MarkedYAMLError) -> str:
    text = str(error.problem or error.context or "cannot be parsed")
    return ascii(_NAMED.sub(r"\1", text))[1:-1].replace("\\'", "'")


class _Conversion:
    """Converts YAML's node graph to ours. An alias is converted once, however often it is used."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._done: dict[yaml.Node, Written] = {}
        self._open: set[yaml.Node] = set()

    def written(self, node: yaml.Node, path: str) -> Written:
        if node in self._open:
            return self._broken(node, path, "an alias inside its own anchor")
        if node not in self._done:
            self._open.add(node)
            self._done[node] = self._converted(node, path)
            self._open.discard(node)
        return self._done[node]

    def _converted(self, node: yaml.Node, path: str) -> Written:
        at = self._at(node)
        match node:
            case yaml.ScalarNode() if _SURROGATE.search(node.value):
                return self._broken(node, path, "an escape for an invalid character")
            case yaml.ScalarNode() if node.tag in _TAGS:
                return Scalar(at, node.value, _TAGS[node.tag])
            case yaml.SequenceNode() if node.tag == _PREFIX + "seq":
                items = enumerate(node.value)
                return Listing(at, tuple(self.written(item, f"{path}[{n}]") for n, item in items))
            case yaml.MappingNode() if node.tag == _PREFIX + "map":
                return Table(at, self._entries(node, path))
        return self._broken(
            node, path, "tags are not supported; quote a value that begins with '!'"
        )

    def _entries(self, node: yaml.MappingNode, path: str) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            at = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.error(at, path, "a key must be a word, not a list or a mapping")
                continue
            key = key_node.value
            inner = f"{path}.{shown_key(key)}" if path else shown_key(key)
            if key_node.tag == _MERGE:
                self._problems.error(at, inner, "merge keys are not supported; alias a whole value")
            elif key in entries:
                self._problems.error(at, inner, f"given twice, first at {entries[key].at}")
            else:
                entries[key] = Entry(at, key, self.written(value_node, inner))
        return tuple(entries.values())

    def _broken(self, node: yaml.Node, path: str, text: str) -> Broken:
        self._problems.error(self._at(node), path, text)
        return Broken(self._at(node))

    def _at(self, node: yaml.Node) -> str:
        return self._source.at(node.start_mark.line + 1)
