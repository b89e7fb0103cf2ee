"""Builds one ``Config`` from a YAML file or a mapping, the environment and flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from buffr.config.forward import ForwardSettings
from buffr.config.gateway import GatewaySettings
from buffr.config.model import Config
from buffr.config.parents import read_no_proxy, read_parents
from buffr.config.problems import Problems, printable, shown, shown_key
from buffr.config.reverse import ReverseRoute
from buffr.config.schema import made, settings_of
from buffr.config.shapes import Given, read_table
from buffr.config.sources import Chosen, choose
from buffr.config.written import (
    Broken,
    Entry,
    Listing,
    Scalar,
    Source,
    Table,
    Tag,
    Written,
)
from buffr.errors import ConfigError

__all__ = ["load", "written_of"]

_LARGEST_FILE_BYTES = 2**20


def load(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    mapping: Mapping[str, Any] | None = None,
    serves: bool = True,
) -> Config:
    """The settings: flags override the environment, the file and the defaults, in this order.

    ``path`` names a YAML file; ``None`` means that there is none. ``mapping``
    replaces a file: data as YAML or JSON would load it, in which paths may be
    ``Path`` objects. ``environ`` is the process's environment, of which
    ``BUFFR_...`` and the proxy variables (``HTTPS_PROXY``, ``NO_PROXY`` and
    so on) are read. ``flags`` holds the command line's flags, as text, by
    names like ``data_dir``. Relative paths in any of them are relative to the
    working directory. ``sources`` chooses the source of the listeners; without
    ``serves``, there need not be any.

    ``ConfigError`` has one line for each problem found in any source, used
    or not: position (``buffr.yaml:12``, ``BUFFR_PORT``, ``--port``, empty for
    a mapping), key path, value, and what is allowed.
    """
    problems = Problems()
    if mapping is None:
        file = _read_file(path, problems)
    else:
        file = _from(written_of(mapping, "", 0, problems), problems)
    variables = read_variables(environ, problems)
    over = read_flags(flags, problems)
    written = Chosen(
        _draft(file.pop("reverse", None)) or (),
        _draft(file.pop("forward", None)),
        _draft(file.pop("gateway", None)),
    )
    given = file | variables.config | over.config
    values = {name: one.value for name, one in given.items() if not one.broken}
    chosen = (
        choose(written, variables, over, problems)
        if serves or any((written.reverse, written.forward, written.gateway))
        else Chosen()
    )
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
    return evolve(
        config,
        parents=parents,
        warnings=tuple(problems.warnings),
        file=path,
        sources=dict(_sources(given, chosen)),
    )


def _sources(given: Mapping[str, Given], chosen: Chosen) -> Iterator[tuple[str, str]]:
    """The key of each setting that is given, and where it stands."""
    yield from _named(Config, given, "")
    for index, row in enumerate(chosen.reverse):
        yield from _named(ReverseRoute, row.given, f"reverse[{index}].")
    if chosen.forward is not None:
        yield from _named(ForwardSettings, chosen.forward.given, "forward.")
    if chosen.gateway is not None:
        yield from _named(GatewaySettings, chosen.gateway.given, "gateway.")


def _named(model: type, given: Mapping[str, Given], prefix: str) -> Iterator[tuple[str, str]]:
    keys = {one.name: one.key or one.name for one in settings_of(model)}
    for name, one in given.items():
        yield prefix + keys.get(name, name), one.at or "given"


def _draft(given: Given | None) -> Any:
    return None if given is None or given.broken else given.value


def _read_file(path: Path | None, problems: Problems) -> dict[str, Given]:
    """The fields of ``Config`` that the file sets, by name."""
    if path is None:
        return {}
    from buffr.config.yaml_text import compose  # noqa: PLC0415  # there may be no file

    name = printable(str(path))
    text = _text(path, name, problems)
    return {} if text is None else _from(compose(text, Source(name), "", problems), problems)


def _from(root: Written | None, problems: Problems) -> dict[str, Given]:
    if root is None or isinstance(root, Broken):
        return {}
    if not isinstance(root, Table):
        problems.error(root.at, "", "must be a mapping of settings, such as 'reverse:'")
        return {}
    return read_table(Config, root, "", problems) or {}


_DEEPEST = 100


def written_of(value: object, path: str, depth: int, problems: Problems) -> Written:
    """Plain data, in the form of data read from a file; ``depth`` is how deep it lies there."""
    match value:
        case None:
            return Scalar("", "", Tag.NULL)
        case bool():
            return Scalar("", str(value).lower(), Tag.BOOL)
        case int():
            return Scalar("", str(value), Tag.NUMBER)
        case float():
            return Scalar("", _decimal(value), Tag.NUMBER)
        case str() | Path():
            return Scalar("", str(value), Tag.TEXT)
        case Mapping() | list() | tuple() if depth == _DEEPEST:
            problems.error("", path, "is nested too deep")
            return Broken("")
        case Mapping():
            return Table("", tuple(_entries_of(value, path, depth, problems)))
        case list() | tuple():
            items = [
                written_of(item, f"{path}[{index}]", depth + 1, problems)
                for index, item in enumerate(value)
            ]
            return Listing("", tuple(items))
    kind = type(value).__name__
    problems.error("", path, f"is a Python {kind}; must be a type that YAML or JSON has")
    return Broken("")


def _entries_of(
    value: Mapping[Any, Any], path: str, depth: int, problems: Problems
) -> Iterator[Entry]:
    for key, inner in value.items():
        if not isinstance(key, str | int) or isinstance(key, bool):
            problems.error("", path, f"has the key {shown(repr(key))}; a key must be a word")
            continue
        below = f"{path}.{shown_key(str(key))}" if path else shown_key(str(key))
        yield Entry("", str(key), written_of(inner, below, depth + 1, problems))


def _decimal(value: float) -> str:
    """Without an exponent, which settings do not have."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _text(path: Path, name: str, problems: Problems) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        problems.error(name, "", f"cannot be read: {error.strerror or 'no such file'}")
        return None
    except ValueError:
        problems.error(name, "", "is not a file name")
        return None
    if len(data) > _LARGEST_FILE_BYTES:
        problems.error(name, "", "is larger than 1 MiB, the limit for settings")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.error(Source(name).at(line), "", "is not UTF-8")
        return None
