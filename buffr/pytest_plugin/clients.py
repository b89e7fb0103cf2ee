"""What makes a test's own clients use the proxy: variables, and aiohttp's defaults."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

__all__ = ["proxied"]


@contextmanager
def proxied(environ: Mapping[str, str], ca: str) -> Iterator[None]:
    """Set variables meanwhile, for this process and the ones that it starts.

    aiohttp reads them only if it is told to, and makes its TLS context when
    it is imported: it is told to, and trusts the CA in the file ``ca``.
    """
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    waiting = _WhenImported(ca)
    try:
        waiting.begin()
        yield
    finally:
        waiting.end()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _WhenImported(MetaPathFinder, Loader):
    """Adapts aiohttp now, or as soon as it is imported."""

    def __init__(self, ca: str) -> None:
        self._ca = ca
        self._loader: Any = None
        self._session: Any = None
        self._made: Any = None

    def begin(self) -> None:
        module = sys.modules.get("aiohttp")
        if module is None:
            sys.meta_path.insert(0, self)
        else:
            self._adapt(module)

    def end(self) -> None:
        with suppress(ValueError):
            sys.meta_path.remove(self)
        if self._session is not None:
            self._session.__init__ = self._made

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:  # noqa: ARG002
        if fullname != "aiohttp":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._adapt(module)

    def _adapt(self, module: ModuleType) -> None:
        session = getattr(module, "ClientSession", None)
        if session is None:  # it is being imported just now
            return
        made = session.__init__

        def init(self: Any, *arguments: Any, **named: Any) -> None:
            named.setdefault("trust_env", True)
            made(self, *arguments, **named)

        self._session, self._made = session, made
        session.__init__ = init
        context = getattr(sys.modules.get("aiohttp.connector"), "_SSL_CONTEXT_VERIFIED", None)
        if context is not None:
            context.load_verify_locations(self._ca)
