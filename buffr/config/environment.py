"""The variables and flags that settings can come from.

A variable that is empty counts as not set, since compose files and CI
systems pass on empty ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from attrs import frozen

from buffr.config.model import Config, ReverseRoute
from buffr.config.problems import Problems, did_you_mean, printable
from buffr.config.reading import Given, overlay
from buffr.config.schema import Setting, Shape, settings_of
from buffr.config.shapes import Draft, Rows
from buffr.config.written import Source, compose

__all__ = ["FILE", "PROXY", "TARGETS", "Overlays", "read_flags", "read_variables"]

TARGETS = "BUFFR_TARGETS"
PROXY = "BUFFR_PROXY"
FILE = "BUFFR_CONFIG"
"""Names the YAML file; whoever calls ``load`` has followed it already."""
_WORDS = ("target", "port", "cassette", "mode")

_NUMBERED = re.compile(r"BUFFR_(?P<index>0|[1-9][0-9]{0,8})_(?P<word>[A-Z]+)")
_ONLY_ROUTE = "reverse[0]"


@frozen(kw_only=True)
class Overlays:
    """What the environment, or the flags, say.

    ``config`` and ``route`` are fields of the models by name. ``targets`` and
    ``numbered`` are the routes of ``BUFFR_TARGETS`` and of ``BUFFR_0_TARGET``
    and so on; ``None`` when there are none of these variables.
    """

    config: dict[str, Given]
    route: dict[str, Given]
    targets: tuple[Draft, ...] | None = None
    numbered: tuple[Draft, ...] | None = None


_Names = dict[str, tuple[str, Setting, Shape[object]]]


@cache
def _variables(model: type) -> _Names:
    return {
        one.variable: (one.variable, one, one.variable_shape)
        for one in settings_of(model)
        if one.variable
    }


@cache
def _flags(model: type) -> _Names:
    return {
        one.flag: ("--" + one.flag.replace("_", "-"), one, one.shape)
        for one in settings_of(model)
        if one.flag
    }


def read_flags(flags: Mapping[str, str], problems: Problems) -> Overlays:
    """What the flags say; their names are spelled with underscores."""
    known = _flags(Config) | _flags(ReverseRoute)
    for name in sorted(flags.keys() - known.keys()):
        problems.error(f"--{printable(name)}", "", f"unknown flag{did_you_mean(name, known)}")
    return Overlays(
        config=overlay(_flags(Config), flags, "", problems),
        route=overlay(_flags(ReverseRoute), flags, _ONLY_ROUTE, problems),
    )


def read_variables(environ: Mapping[str, str], problems: Problems) -> Overlays:
    """What the variables ``BUFFR_...`` say. An unknown one is a warning."""
    ours = {name: text for name, text in environ.items() if name.startswith("BUFFR_") and text}
    if PROXY in ours:
        problems.error(PROXY, "forward", "is not served yet; leave it out")
    numbered = _numbered(ours, problems)
    _warn_of_unknown(ours, problems)
    return Overlays(
        config=overlay(_variables(Config), ours, "", problems),
        route=overlay(_variables(ReverseRoute), ours, _ONLY_ROUTE, problems),
        targets=_targets(ours[TARGETS], problems) if TARGETS in ours else None,
        numbered=numbered or None,
    )


def _targets(text: str, problems: Problems) -> tuple[Draft, ...]:
    source = Source(TARGETS, is_file=False)
    written = compose(text, source, "reverse", problems)
    rows = Rows(ReverseRoute)
    if written is None:
        problems.error(TARGETS, "reverse", f"is empty; must be {rows.allowed} in YAML")
        return ()
    return rows.read(written, "reverse", problems) or ()


def _numbered(ours: Mapping[str, str], problems: Problems) -> tuple[Draft, ...]:
    indexes = {
        int(match["index"])
        for name in ours
        if (match := _NUMBERED.fullmatch(name)) and match["word"].lower() in _WORDS
    }
    drafts = []
    for index in sorted(indexes):
        path = f"reverse[{index}]"
        drafts.append(
            Draft(f"BUFFR_{index}_TARGET", path, overlay(_names(index), ours, path, problems))
        )
        if index and index - 1 not in indexes:
            text = f"there is no BUFFR_{index - 1}_TARGET; the numbers run from 0 without a gap"
            problems.error(f"BUFFR_{index}_TARGET", path, text)
    return tuple(drafts)


def _names(index: int) -> _Names:
    """The names of one numbered route's variables."""
    names = {}
    for one in settings_of(ReverseRoute):
        if one.name in _WORDS:
            name = f"BUFFR_{index}_{one.name.upper()}"
            names[name] = (name, one, one.shape)
    return names


def _warn_of_unknown(ours: Mapping[str, str], problems: Problems) -> None:
    numbered = {name for index in range(2) for name in _names(index)}
    known = {*_variables(Config), *_variables(ReverseRoute), TARGETS, PROXY, FILE, *numbered}
    for name in sorted(ours.keys() - known):
        match = _NUMBERED.fullmatch(name)
        if not (match and match["word"].lower() in _WORDS):
            text = f"unknown variable, not used{did_you_mean(name, sorted(known))}"
            problems.warn(printable(name), "", text)
