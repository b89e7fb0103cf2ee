"""The reference of all settings, in Markdown, made of what the models declare.

``python -m buffr.config.reference > docs/settings.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import attrs

from buffr.config.model import Config
from buffr.config.schema import Kind, Setting, settings_of
from buffr.config.shapes import NOT_SERVED, Drafted, Rows, Rules, Section

__all__ = ["reference"]

_INTRO = """\
# Settings

<!-- Written by `python -m buffr.config.reference`; change the models in buffr/config instead. -->

Settings come from a YAML file, from environment variables and from flags.
The file is the one that `--config` or `BUFFR_CONFIG` names.
A flag counts over a variable, a variable over the file, the file over the default.
Whatever is wrong in any of them is reported, one line each, before anything listens:
where it stands, its key path, its value, and what is allowed.

- A relative path, in the file too, is relative to the working directory.
- A variable that is empty counts as not set. One that begins with `BUFFR_` and is unknown
  is a warning.
- Times are seconds, or written like `500ms`, `30s`, `10m`, `12h`, `30d`.
- Sizes are bytes, or written like `64KiB`, `1MiB` (powers of 1024), `10MB` (powers of 1000).
- In the file, keys must be known and may stand only once; tags and merge keys (`<<`) are not
  read, aliases are. A value that begins with `!` stands in quotes.
"""

_ROUTES = """\
## Which routes there are

The first of these that is there gives the routes, and replaces the others:

1. `--target`, or `BUFFR_TARGET`: a single route, with what `--port`, `--cassette` and `--mode`
   or their variables say. Mode replay with a cassette, by flags or variables, needs no target.
2. `BUFFR_TARGETS`: the list that otherwise stands under `reverse:`, in YAML.
3. `BUFFR_0_TARGET`, `BUFFR_0_PORT`, `BUFFR_0_CASSETTE`, `BUFFR_0_MODE`, then `BUFFR_1_...`
   and so on, from 0 and without a gap.
4. `reverse:` in the file.

Where 4 gives them, flags and variables still count over what a route says: `--mode`
(`BUFFR_MODE`), `--keep-host`, `--repeat` and `--ca-file` for every route; `--port`
(`BUFFR_PORT`) and `--cassette` (`BUFFR_CASSETTE`) if there is only one. So
`BUFFR_MODE=replay` makes a whole file replay in CI. Where 2 or 3 gives them, only flags
count over what a route says, and these variables for what it leaves open.

Mode `proxy`, mode `cache` and `BUFFR_PROXY` are not served yet.
"""

_COLUMNS = ("Setting", "Meaning", "Allowed", "Default", "Variable", "Flag")


def reference() -> str:
    """The whole page."""
    later = [f"`{one.key}:`" for one in settings_of(Config) if one.shape is NOT_SERVED]
    closing = f"{', '.join(later)} are names for what comes later, and refused until then.\n"
    return "\n".join((_INTRO, _ROUTES, *_sections("", "", Config), closing))


def _sections(path: str, doc: str, model: type) -> Iterator[str]:
    """A model's section, and then those of the models in it."""
    title = f"## `{path}`\n\n{doc}" if path else "## General"
    prefix = f"{path}." if path else ""
    yield f"{title}\n\n{_table(prefix, settings_of(model))}\n"
    for one in settings_of(model):
        if isinstance(one.shape, Section | Drafted):
            yield from _sections(prefix + one.key, one.doc, one.shape.model)
        elif isinstance(one.shape, Rows | Rules):
            yield from _sections(f"{prefix}{one.key}[]", one.doc, one.shape.model)


def _table(prefix: str, settings: tuple[Setting, ...]) -> str:
    rows = [_cells(one, prefix) for one in settings if not _stands_apart(one)]
    used = [n for n in range(len(_COLUMNS)) if any(row[n] for row in rows)]
    lines = [[_COLUMNS[n] for n in used], ["---" for n in used]]
    lines += [[row[n] for n in used] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stands_apart(one: Setting) -> bool:
    return one.shape is NOT_SERVED or isinstance(one.shape, Section | Drafted | Rows | Rules)


def _cells(one: Setting, prefix: str) -> tuple[str, ...]:
    cells = (
        f"`{prefix}{one.key}`" if one.key else "(variable only)",
        one.doc,
        one.shape.allowed,
        _default(one),
        f"`{one.variable}`" if one.variable else "",
        f"`--{one.flag.replace('_', '-')}`" if one.flag else "",
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _default(one: Setting) -> str:
    if one.default_text:
        return one.default_text
    if one.default is attrs.NOTHING:
        return "required"
    if one.default in (None, (), ""):
        return "none"
    shape = one.shape
    return f"`{shape.show(one.default) if isinstance(shape, Kind) else one.default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
