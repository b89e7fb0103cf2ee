"""The variables and flags that settings can come from.

An empty variable counts as not set, since compose files and CI systems pass
empty ones on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from attrs import field, frozen

from buffr.config.forward import ForwardSettings
from buffr.config.kinds import BOOL
from buffr.config.model import Config
from buffr.config.problems import Problems, did_you_mean, printable
from buffr.config.reverse import ReverseRoute
from buffr.config.route import MatchSettings
from buffr.config.schema import Setting, Shape, settings_of
from buffr.config.shapes import Draft, Drafted, Given, Rows, overlay
from buffr.config.written import Scalar, Source, Written

__all__ = ["FILE", "MODE", "PROXY", "TARGETS", "Overlays", "read_flags", "read_variables"]

MODE = "BUFFR_MODE"

TARGETS = "BUFFR_TARGETS"
PROXY = "BUFFR_PROXY"
FILE = "BUFFR_CONFIG"
"""Names the YAML file; resolved by the caller of ``load``."""
_WORDS = ("target", "port", "cassette", "mode")

_NUMBERED = re.compile(r"BUFFR_(?P<index>0|[1-9][0-9]{0,8})_(?P<word>[A-Z]+)")
_ONLY_ROUTE = "reverse[0]"
_PROXY_FLAG = "proxy"
_PROXY_MODE = "proxy"


@frozen(kw_only=True)
class Overlays:
    """The settings in the environment, or in the flags.

    ``config`` and ``route`` are fields of the models by name, ``route`` those
    of reverse routes and of the forward proxy, which share many; ``match`` are
    fields of ``MatchSettings``, to be combined with those of each route.
    ``wants_forward``: mode ``proxy`` was requested, by the source ``at``.
    ``forward`` is ``BUFFR_PROXY``; ``targets`` and ``numbered`` are the routes
    of ``BUFFR_TARGETS`` and of ``BUFFR_0_TARGET`` and so on; ``None`` if
    these variables are not set.
    """

    config: dict[str, Given]
    route: dict[str, Given]
    wants_forward: bool = False
    at: str = ""
    match: dict[str, Given] = field(factory=dict)
    forward: Draft | None = None
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
    """Read the flags; their names are spelled with underscores.

    ``proxy`` is ``true`` for the forward proxy, and mode ``proxy`` means the same.
    """
    known = _flags(Config) | _flags(ReverseRoute) | _flags(ForwardSettings) | _flags(MatchSettings)
    for name in sorted(flags.keys() - known.keys() - {_PROXY_FLAG}):
        problems.error(f"--{printable(name)}", "", f"unknown flag{did_you_mean(name, known)}")
    texts = dict(flags)
    marked = texts.pop(_PROXY_FLAG, "false")
    chosen = BOOL.read(Scalar("--proxy", marked), "", problems) or False
    at = "--proxy"
    if texts.get("mode") == _PROXY_MODE:
        del texts["mode"]
        chosen, at = True, "--mode"
    return Overlays(
        config=overlay(_flags(Config), texts, "", problems),
        route=_route(_flags, texts, forward=chosen, problems=problems),
        match=overlay(_flags(MatchSettings), texts, "match", problems),
        wants_forward=chosen,
        at=at,
    )


def read_variables(environ: Mapping[str, str], problems: Problems) -> Overlays:
    """Read the variables ``BUFFR_...``. An unknown one causes a warning."""
    ours = {name: text for name, text in environ.items() if name.startswith("BUFFR_") and text}
    wants_forward = ours.get(MODE) == _PROXY_MODE
    if wants_forward:
        del ours[MODE]
    numbered = _numbered(ours, problems)
    _warn_of_unknown(ours, problems)
    return Overlays(
        config=overlay(_variables(Config), ours, "", problems),
        route=_route(_variables, ours, forward=wants_forward or PROXY in ours, problems=problems),
        wants_forward=wants_forward,
        at=MODE,
        forward=_forward(ours[PROXY], problems) if PROXY in ours else None,
        targets=_targets(ours[TARGETS], problems) if TARGETS in ours else None,
        numbered=numbered or None,
    )


def _route(
    names: Callable[[type], _Names], source: Mapping[str, str], *, forward: bool, problems: Problems
) -> dict[str, Given]:
    """Settings of routes. A name that both kinds share is read as that of the likelier one."""
    reverse, proxy = names(ReverseRoute), names(ForwardSettings)
    if forward:
        reverse = {name: one for name, one in reverse.items() if name not in proxy}
    else:
        proxy = {name: one for name, one in proxy.items() if name not in reverse}
    return overlay(proxy, source, "forward", problems) | overlay(
        reverse, source, _ONLY_ROUTE, problems
    )


def _composed(text: str, source: Source, path: str, problems: Problems) -> Written | None:
    from buffr.config.yaml_text import compose  # noqa: PLC0415  # few variables hold YAML

    return compose(text, source, path, problems)


def _forward(text: str, problems: Problems) -> Draft:
    source = Source(PROXY, is_file=False)
    written = _composed(text, source, "forward", problems)
    if written is None:
        return Draft(PROXY, "forward", {})
    draft = Drafted(ForwardSettings).read(written, "forward", problems)
    return draft or Draft(PROXY, "forward", {}, broken=True)


def _targets(text: str, problems: Problems) -> tuple[Draft, ...]:
    source = Source(TARGETS, is_file=False)
    written = _composed(text, source, "reverse", problems)
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
            text = f"BUFFR_{index - 1}_TARGET is missing; number the routes from 0 without a gap"
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
