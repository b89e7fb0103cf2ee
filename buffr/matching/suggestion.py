"""The rule that would make two requests match, if they differ only by noise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from attrs import frozen

from buffr.formats.yaml_lines import Data, block
from buffr.matching.canonical_json import Digits
from buffr.matching.changes import MOST, Change, Place
from buffr.matching.noise import noise_between, whole_noise
from buffr.matching.rules import IgnoreRule

__all__ = ["Suggestion", "json_path", "suggested"]

_HEADER = re.compile(r"header ([!-~]+)")
_PARTS = {"path": "request.path", "query": "request.query", "body": "request.body"}


@frozen(kw_only=True)
class Suggestion:
    """What to add under ``match`` in the settings.

    It is ``partial`` if more differs than the noise that it leaves out.
    """

    ignore: tuple[IgnoreRule, ...] = ()
    json: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    form: tuple[str, ...] = ()
    partial: bool = False

    def yaml(self) -> str:
        """The lines to paste into the settings, the first one ``match:``."""
        return "".join(f"{line}\n" for line in block({"match": self.settings()}))

    def settings(self) -> dict[str, Sequence[Data]]:
        """The same as data: the lists to add to, each with what to add."""
        ignore: list[Data] = [
            {"in": rule.part, "pattern": rule.pattern, "replace_with": rule.replace_with}
            for rule in self.ignore
        ]
        lists = {"json": self.json, "query": self.query, "form": self.form, "ignore": ignore}
        return {name: values for name, values in lists.items() if values}


def suggested(found: tuple[Change, ...]) -> Suggestion | None:
    """The rule that leaves out the noise among these changes; ``None`` if there is none."""
    paths: dict[Place, None] = {}
    fields: dict[str, dict[str, None]] = {"query": {}, "body": {}}
    ignore: dict[IgnoreRule, None] = {}
    partial = len(found) >= MOST  # there may be more than these
    for change in found:
        if not (_has_text(change.recorded) and _has_text(change.live)):
            partial = True
            continue
        name = str(change.place[-1]) if change.place else ""
        rules: tuple[IgnoreRule, ...] = ()
        if not change.place or not _is_noise(change, name):
            rules = _ignoring(change)
            partial = partial or not rules
        elif change.json:
            paths[change.place] = None
        elif name.isprintable():
            fields[change.part][name] = None
        else:
            partial = True
        ignore.update(dict.fromkeys(rules))
    if not (paths or ignore or any(fields.values())):
        return None
    return Suggestion(
        ignore=tuple(ignore),
        json=tuple(_generalised(list(paths))),
        query=tuple(fields["query"]),
        form=tuple(fields["body"]),
        partial=partial,
    )


def _has_text(value: object) -> bool:
    """Whether a value is one that may be noise: a number or a text, and there."""
    return type(value) is int or isinstance(value, (str, bytes, Digits))


def _text(value: object, *, decode: bool) -> str:
    """The text of a value that has one."""
    if isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        return unquote_plus(text) if decode else text
    return value.written if isinstance(value, Digits) else str(value)


def _is_noise(change: Change, name: str) -> bool:
    """Whether the values on both sides are entirely noise.

    A value that only one side has means another request: a rule would hide
    that for good.
    """
    texts = [_text(value, decode=not change.json) for value in (change.recorded, change.live)]
    return all(whole_noise(text, name) is not None for text in texts)


def _ignoring(change: Change) -> tuple[IgnoreRule, ...]:
    header = _HEADER.fullmatch(change.part)
    part = f"request.header.{header[1]}" if header else _PARTS.get(change.part)
    if part is None:
        return ()
    old, new = _text(change.recorded, decode=False), _text(change.live, decode=False)
    return tuple(
        IgnoreRule(part=part, pattern=noise.pattern, replace_with=noise.stand_in)
        for noise in noise_between(old, new)
    )


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _generalised(places: list[Place]) -> list[str]:
    """JSONPaths (RFC 9535); places that differ only by an index become one with ``[*]``."""
    shapes: dict[Place, list[Place]] = {}
    for place in places:
        shape = tuple("*" if isinstance(part, int) else f".{part}" for part in place)
        shapes.setdefault(shape, []).append(place)
    return [json_path(alike[0], general=len(alike) > 1) for alike in shapes.values()]


def json_path(place: Place, *, general: bool = False) -> str:
    """The JSONPath (RFC 9535) of a place; ``general`` is for every element of its arrays."""
    return "$" + "".join(_segment(part, general=general) for part in place)


def _segment(part: str | int, *, general: bool) -> str:
    if isinstance(part, int):
        return "[*]" if general else f"[{part}]"
    if _PLAIN_NAME.fullmatch(part):
        return f".{part}"
    escaped = "".join(_escaped(char) for char in part)
    return f"['{escaped}']"


def _escaped(char: str) -> str:
    if char in "'\\":
        return "\\" + char
    return char if char >= " " else f"\\u{ord(char):04x}"
