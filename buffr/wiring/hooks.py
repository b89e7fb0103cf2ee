"""Loads the modules of hooks that the settings name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from attrs import define, field

from buffr.errors import ConfigError
from buffr.exchanges.hooks import Hooks, HookThread

__all__ = ["HookFiles"]

_ARGUMENTS = {"before_match": 1, "before_record": 1, "before_replay": 2}
_PREFIX = "before_"


@define(eq=False)
class HookFiles:
    """The hooks by file; each file is run once, and all hooks on one thread."""

    reactor: Any
    limit_s: float
    _thread: HookThread = field(init=False)
    _known: dict[Path, Hooks] = field(init=False, factory=dict)

    @_thread.default
    def _one_for_all(self) -> HookThread:
        return HookThread(self.reactor, self.limit_s)

    def of(self, path: Path | None) -> Hooks | None:
        """The hooks of a file; ``None`` without one. Raises ``ConfigError``."""
        if path is None:
            return None
        if path not in self._known:
            functions = _functions(path, _loaded(path))
            self._known[path] = Hooks(path, self._thread, **functions)
        return self._known[path]


def _loaded(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"hooks: there is no file {path}")
    spec = spec_from_file_location(f"buffr_hooks_of_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"hooks: {path} is not a Python file", hint="its name must end in .py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"hooks: {_place(path, error)}: {_said(error)}") from error
    return module


def _said(error: Exception) -> str:
    why = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {why}" if why else type(error).__name__


def _place(path: Path, error: Exception) -> str:
    """The line of the file that the error comes from."""
    name = str(path.resolve())
    if isinstance(error, SyntaxError) and error.filename == name:
        return f"{path}:{error.lineno}"
    lines = [one.lineno for one in extract_tb(error.__traceback__) if one.filename == name]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _functions(path: Path, module: ModuleType) -> dict[str, Callable[..., Any]]:
    found = {name: one for name, one in vars(module).items() if name.startswith(_PREFIX)}
    for name, one in found.items():
        if name not in _ARGUMENTS:
            hint = f"hooks are {', '.join(_ARGUMENTS)}"
            raise ConfigError(f"hooks: {path} has an unknown hook {name!r}", hint=hint)
        if not callable(one) or inspect.iscoroutinefunction(one):
            raise ConfigError(f"hooks: {name} of {path} must be a function, and not async")
        try:
            inspect.signature(one).bind(*[None] * _ARGUMENTS[name])
        except TypeError:
            count = _ARGUMENTS[name]
            which = "one argument" if count == 1 else f"{count} arguments"
            raise ConfigError(f"hooks: {name} of {path} must take {which}") from None
    if not found:
        raise ConfigError(f"hooks: {path} has none of {', '.join(_ARGUMENTS)}")
    return found
