"""The reference of all settings, in Markdown, generated from the models.

``python -m buffr.config.reference > docs/settings.md`` regenerates it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import attrs

from buffr.config.model import Config
from buffr.config.route import RouteSettings
from buffr.config.schema import Kind, Setting, settings_of
from buffr.config.shapes import Drafted, NamedRows, Rows, Rules, Section
from buffr.policy.mode import Mode

__all__ = ["default_of", "reference"]

_INTRO = """\
# Settings

<!-- Written by `python -m buffr.config.reference`; change the models in buffr/config instead. -->

Settings come from a YAML file, from environment variables and from flags.
`--config` or `BUFFR_CONFIG` names the file.
Flags override variables, variables override the file, and the file overrides the defaults.
Before anything listens, every problem is reported on a line of its own: where the setting was
found, its key path, its value, and what is allowed.

- Relative paths are relative to the working directory, even in the file.
- In a variable or a flag, separate the values of a list by commas or white space. The flags
  `--match-...` may be repeated instead, and a JSONPath must be.
- An empty variable counts as not set. An unknown variable that begins with `BUFFR_` causes a
  warning.
- Times are in seconds, or have a unit: `500ms`, `30s`, `10m`, `12h`, `30d`.
- Sizes are in bytes, or have a unit: `64KiB`, `1MiB` (powers of 1024), `10MB` (powers of 1000).
- In the file, unknown and duplicate keys are errors. Aliases are supported; tags and merge keys
  (`<<`) are not. Quote a value that begins with `!`.
"""

_ROUTES = """\
## Which listeners are started

The listeners come from the first of these sources that is present; the others are not used:

1. `buffr proxy`, or `--mode proxy`: the forward proxy.
2. `--target`: a single route, with `--port`, `--cassette` and `--mode` or their variables. Mode
   replay with a cassette, by flags or variables, needs no target.
3. `BUFFR_MODE=proxy`, if no flag sets a mode: the forward proxy. Another mode, by flag or
   variable, with `BUFFR_TARGET`: a single route.
4. `BUFFR_PROXY`: the forward proxy, with the content of `forward:`, in YAML.
5. `BUFFR_TARGET`: a single route.
6. `BUFFR_TARGETS`: the list of `reverse:`, in YAML.
7. `BUFFR_0_TARGET`, `BUFFR_0_PORT`, `BUFFR_0_CASSETTE`, `BUFFR_0_MODE`, then `BUFFR_1_...`
   and so on, from 0 and without a gap.
8. `reverse:`, `gateway:` and `forward:` in the file, in any combination. `forward: {}` is a
   forward proxy with all defaults.

A single route takes the settings of the row under `reverse:` with its target (in mode replay
without a target: with its cassette); flags and variables override them.
`buffr auto --target URL --config FILE`, or any other command that names a mode, is refused if
the file has listeners but no row with this target.

The forward proxy of 1 and 3 is described by `BUFFR_PROXY`, or else by `forward:` in the file.
Without either, all its settings have their defaults.

If the listeners come from the file, flags and variables override the settings of its routes:
`--mode` (`BUFFR_MODE`), `--keep-host`, `--repeat`, `--ca-file`, `--store` (`BUFFR_STORE`) and
`--ttl` (`BUFFR_TTL`) for every route and every host; `--port` (`BUFFR_PORT`) and `--cassette`
(`BUFFR_CASSETTE`) if there is only one listener. So `BUFFR_MODE=replay` makes a whole file
replay in CI. If they come from 4, 6 or 7, only flags override the settings of a route; these
variables apply to settings that it leaves out.

## Proxies behind buffr

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` (lower case takes precedence) name the proxy
through which upstreams are reached, unless a route sets `via`. It is not used for hosts in
`NO_PROXY` (and `no_proxy`) or on loopback addresses. A proxy in the environment that cannot be
used, or an invalid entry of `NO_PROXY`, causes a warning.

The forward proxy does not intercept connections to hosts in `NO_PROXY` either, except that a
lone `*` is ignored. Unlike the hosts in `forward.bypass`, they are not exempt from
`forward.deny_private`.
"""

_SHARED = frozenset(one.name for one in settings_of(RouteSettings)) - {"cassette"}
_COLUMNS = ("Setting", "Meaning", "Allowed", "Default", "Modes", "Variable", "Flag")


def reference() -> str:
    """The whole page."""
    return "\n".join((_INTRO, _ROUTES, *_sections("", "", Config, {})))


def _sections(path: str, doc: str, model: type, written: dict[type, str]) -> Iterator[str]:
    """A model's section, then those of its nested models, each model once."""
    if model in written:
        yield f"## `{path}`\n\n{doc} Takes the same settings as `{written[model]}`.\n"
        return
    written[model] = path
    title = f"## `{path}`\n\n{doc}" if path else "## General"
    prefix = f"{path}." if path else ""
    yield f"{title}\n\n{_table(prefix, model)}\n"
    for one in settings_of(model):
        if isinstance(one.shape, Section | Drafted):
            yield from _sections(prefix + one.key, _with_names(one), one.shape.model, written)
        elif isinstance(one.shape, Rows | Rules):
            yield from _sections(f"{prefix}{one.key}[]", one.doc, one.shape.model, written)
        elif isinstance(one.shape, NamedRows):
            yield from _sections(f"{prefix}{one.key}.NAME", one.doc, one.shape.model, written)


def _with_names(one: Setting) -> str:
    """A section's meaning, and what sets the word that is short for it."""
    if not one.variable:
        return one.doc
    return f"{one.doc} `{one.variable}` and `--{one.flag.replace('_', '-')}` set its word."


def _table(prefix: str, model: type) -> str:
    inherits = getattr(model, "inherits", "")
    rows = [_cells(one, prefix, inherits) for one in settings_of(model) if not _stands_apart(one)]
    used = [n for n in range(len(_COLUMNS)) if any(row[n] for row in rows)]
    lines = [[_COLUMNS[n] for n in used], ["---" for n in used]]
    lines += [[row[n] for n in used] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stands_apart(one: Setting) -> bool:
    return isinstance(one.shape, Section | Drafted | NamedRows | Rows | Rules)


def _cells(one: Setting, prefix: str, inherits: str) -> tuple[str, ...]:
    inherited = f"from `{inherits}`" if inherits and one.name in _SHARED else ""
    cells = (
        f"`{prefix}{one.key}`" if one.key else "(variable only)",
        one.doc,
        one.shape.allowed,
        inherited or default_of(one),
        _modes(one),
        f"`{one.variable}`" if one.variable else "",
        f"`--{one.flag.replace('_', '-')}`" if one.flag else "",
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _modes(one: Setting) -> str:
    return ", ".join(mode.value for mode in Mode if mode in (one.modes or ()))


def default_of(one: Setting) -> str:
    """A setting's default, as shown on the page."""
    if one.default_text:
        return one.default_text
    if one.default is attrs.NOTHING:
        return "required"
    if one.default in (None, (), "", frozenset()):
        return "none"
    shape = one.shape
    return f"`{shape.show(one.default) if isinstance(shape, Kind) else one.default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
