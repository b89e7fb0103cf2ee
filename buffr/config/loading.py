"""One ``Config`` out of a YAML file, the environment and flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from buffr.config.checks import (
    check_forward,
    check_gateway,
    finish_forward,
    finish_gateway,
    finish_routes,
    refuse_loops,
    without_loops,
)
from buffr.config.environment import read_flags, read_variables
from buffr.config.model import Config
from buffr.config.parents import read_no_proxy, read_parents
from buffr.config.problems import Problems, printable
from buffr.config.schema import made
from buffr.config.shapes import Given, read_table
from buffr.config.sources import Chosen, choose
from buffr.config.yaml_text import Broken, Source, Table, Written, compose
from buffr.errors import ConfigError

__all__ = ["load"]

_LARGEST_FILE_BYTES = 2**20


def load(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    text: str | None = None,
) -> Config:
    """The settings: flags over environment over the file over defaults.

    ``path`` names a YAML file; ``None`` means that there is none.
    ``text`` stands in for a file's. ``environ``
    is the process's environment, of which ``BUFFR_...`` is looked at, and the
    names of proxies: ``HTTPS_PROXY``, ``NO_PROXY`` and so on.
    ``flags`` holds what was given on the command line, as text, by names like
    ``data_dir``. Relative paths in any of them are relative to the working
    directory. ``selection`` says which source names the
    listeners.

    ``ConfigError`` has one line for each problem found in any source, used
    or not: source, key path, value, and what is allowed.
    """
    problems = Problems()
    file = _read_file(path, text, problems)
    variables = read_variables(environ, problems)
    over = read_flags(flags, problems)
    written = Chosen(
        _draft(file.pop("reverse", None)) or (),
        _draft(file.pop("forward", None)),
        _draft(file.pop("gateway", None)),
    )
    given = file | variables.config | over.config
    values = {name: one.value for name, one in given.items() if not one.broken}
    chosen = choose(written, variables, over, problems)
    data_dir = values.get("data_dir", Path())
    values["reverse"] = finish_routes(chosen.reverse, data_dir, problems)
    if chosen.forward is not None:
        values["forward"] = finish_forward(chosen.forward, data_dir, problems)
    if chosen.gateway is not None:
        values["gateway"] = finish_gateway(chosen.gateway, data_dir, problems)
    values["no_proxy"] = read_no_proxy(environ, problems)
    values["parents"] = read_parents(environ, values["no_proxy"], problems)
    config = made(Config, values)
    if chosen.forward is not None and not any(one.broken for one in given.values()):
        check_forward(chosen.forward, config, problems)
    if chosen.gateway is not None and not any(one.broken for one in given.values()):
        check_gateway(chosen.gateway, config, problems)
    others = filter(None, [chosen.forward, chosen.gateway])
    refuse_loops((*chosen.reverse, *others), config, problems)
    parents = without_loops(config, problems)
    if problems.errors:
        raise ConfigError("\n".join(dict.fromkeys(problems.errors)))
    return evolve(config, parents=parents, warnings=tuple(problems.warnings))


def _draft(given: Given | None) -> Any:
    return None if given is None or given.broken else given.value


def _read_file(path: Path | None, text: str | None, problems: Problems) -> dict[str, Given]:
    """What the file gives for the fields of ``Config``, by their names."""
    name = "settings" if path is None else printable(str(path))
    if path is not None:
        text = _text(path, name, problems)
    root: Written | None = None
    if text is not None:
        root = compose(text, Source(name), "", problems)
    if root is None or isinstance(root, Broken):
        return {}
    if not isinstance(root, Table):
        problems.error(root.at, "", "must be a mapping of settings, such as 'reverse:'")
        return {}
    return read_table(Config, root, "", problems) or {}


def _text(path: Path, name: str, problems: Problems) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        problems.error(name, "", f"cannot be read: {error.strerror or 'no such file'}")
        return None
    except ValueError:
        problems.error(name, "", "is no file name")
        return None
    if len(data) > _LARGEST_FILE_BYTES:
        problems.error(name, "", "is over 1 MiB; settings are smaller")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.error(Source(name).at(line), "", "is not UTF-8")
        return None
