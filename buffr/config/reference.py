"""The reference of all settings, in Markdown, made of what the models declare.

``python -m buffr.config.reference > docs/settings.md`` writes it anew.
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
The file is the one that `--config` or `BUFFR_CONFIG` names.
A flag counts over a variable, a variable over the file, the file over the default.
Whatever is wrong in any of them is reported, one line each, before anything listens:
where it stands, its key path, its value, and what is allowed.

- A relative path, in the file too, is relative to the working directory.
- In a variable or a flag, commas or white space stand between the values of a list.
- A variable that is empty counts as not set. One that begins with `BUFFR_` and is unknown
  is a warning.
- Times are seconds, or written like `500ms`, `30s`, `10m`, `12h`, `30d`.
- Sizes are bytes, or written like `64KiB`, `1MiB` (powers of 1024), `10MB` (powers of 1000).
- In the file, keys must be known and may stand only once; tags and merge keys (`<<`) are not
  read, aliases are. A value that begins with `!` stands in quotes.
"""

_ROUTES = """\
## Which listeners there are

The first of these that is there gives the listeners, and replaces the others:

1. `buffr proxy`, or `--mode proxy`: the forward proxy.
2. `--target`: a single route, with what `--port`, `--cassette` and `--mode` or their variables
   say. Mode replay with a cassette, by flags or variables, needs no target.
3. `BUFFR_MODE=proxy`, where no flag names a mode: the forward proxy. Another mode, by flag or
   variable, with `BUFFR_TARGET`: a single route.
4. `BUFFR_PROXY`: the forward proxy, with what otherwise stands under `forward:`, in YAML.
5. `BUFFR_TARGET`: a single route.
6. `BUFFR_TARGETS`: the list that otherwise stands under `reverse:`, in YAML.
7. `BUFFR_0_TARGET`, `BUFFR_0_PORT`, `BUFFR_0_CASSETTE`, `BUFFR_0_MODE`, then `BUFFR_1_...`
   and so on, from 0 and without a gap.
8. `reverse:`, `gateway:` and `forward:` in the file, all that are there. `forward: {}` is a
   forward proxy with all defaults.

A single route has the rules of the row under `reverse:` with its target (mode replay without
one: with its cassette), under the flags and variables. `buffr auto --target URL --config FILE`,
and each other command that names a mode, is refused if the file has listeners, and none of its
rows this target.

The forward proxy of 1 and 3 is the one that `BUFFR_PROXY` describes, else `forward:` in the
file, else one with all defaults.

Where the file gives them, flags and variables still count over what a route says: `--mode`
(`BUFFR_MODE`), `--keep-host`, `--repeat`, `--ca-file`, `--store` (`BUFFR_STORE`) and `--ttl`
(`BUFFR_TTL`) for every route and every host; `--port` (`BUFFR_PORT`) and `--cassette`
(`BUFFR_CASSETTE`) if there is only one listener. So
`BUFFR_MODE=replay` makes a whole file replay in CI. Where 4, 6 or 7 gives them, only flags
count over what a route says, and these variables for what it leaves open.

## Proxies behind buffr

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` (in lower case before upper) name the proxy that
upstreams are reached through, unless a route says `via`. Hosts in `NO_PROXY` (and `no_proxy`)
and on loopback addresses are reached without it. A proxy of the environment that cannot be
used is a warning, and so is an entry of `NO_PROXY` that cannot be read.

The forward proxy does not look into hosts in `NO_PROXY` either, but for a lone `*` there.
They are no exception from `forward.deny_private`, as those in `forward.bypass` are.
"""

_SHARED = frozenset(one.name for one in settings_of(RouteSettings)) - {"cassette"}
_COLUMNS = ("Setting", "Meaning", "Allowed", "Default", "Modes", "Variable", "Flag")


def reference() -> str:
    """The whole page."""
    return "\n".join((_INTRO, _ROUTES, *_sections("", "", Config, {})))


def _sections(path: str, doc: str, model: type, written: dict[type, str]) -> Iterator[str]:
    """A model's section, and then those of the models in it, each model once."""
    if model in written:
        yield f"## `{path}`\n\n{doc} The settings in it are those of `{written[model]}`.\n"
        return
    written[model] = path
    title = f"## `{path}`\n\n{doc}" if path else "## General"
    prefix = f"{path}." if path else ""
    yield f"{title}\n\n{_table(prefix, model)}\n"
    for one in settings_of(model):
        if isinstance(one.shape, Section | Drafted):
            yield from _sections(prefix + one.key, one.doc, one.shape.model, written)
        elif isinstance(one.shape, Rows | Rules):
            yield from _sections(f"{prefix}{one.key}[]", one.doc, one.shape.model, written)
        elif isinstance(one.shape, NamedRows):
            yield from _sections(f"{prefix}{one.key}.NAME", one.doc, one.shape.model, written)


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
    inherited = f"that of `{inherits}`" if inherits and one.name in _SHARED else ""
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
    """A setting's default, as the page shows it."""
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
