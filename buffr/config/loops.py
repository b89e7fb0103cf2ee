"""No parent proxy is buffr itself, as far as addresses tell; the rest is seen at run time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from buffr.config.model import Config
from buffr.config.parents import ParentProxies, ParentProxy, is_this_machine
from buffr.config.problems import Problems
from buffr.config.shapes import Draft

__all__ = ["refuse_loops", "without_loops"]

_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def refuse_loops(drafts: Iterable[Draft], config: Config, problems: Problems) -> None:
    """Refuse a ``via`` that names one of buffr's own ports."""
    for draft in _with_rows(drafts):
        via = draft.given.get("via")
        if via is not None and isinstance(via.value, ParentProxy) and _is_own(via.value, config):
            problems.error(
                via.at, f"{draft.path}.via", "is a port of buffr itself; must be another"
            )


def _with_rows(drafts: Iterable[Draft]) -> Iterator[Draft]:
    for draft in drafts:
        yield draft
        for name in ("hosts", "routes"):
            rows = draft.given.get(name)
            if rows is not None and not rows.broken:
                yield from rows.value


def without_loops(config: Config, problems: Problems) -> ParentProxies:
    """The environment's parent proxies but for buffr itself, whose clients' shell started it."""

    def usable(parent: ParentProxy | None, scheme: str) -> ParentProxy | None:
        if parent is None or not _is_own(parent, config):
            return parent
        text = f"the environment's proxy for {scheme}:// is buffr itself; not used as parent"
        problems.warn(parent.url, "", text)
        return None

    parents = config.parents
    return evolve(parents, http=usable(parents.http, "http"), https=usable(parents.https, "https"))


def _is_own(parent: ParentProxy, config: Config) -> bool:
    ports = {route.port for route in config.reverse}
    if config.forward is not None:
        ports.add(config.forward.port)
    if config.gateway is not None:
        ports.add(config.gateway.port)
    host = parent.origin.host
    reached = config.on_loopback or config.listen in _EVERY_ADDRESS
    here = host == config.listen or (is_this_machine(host) and reached)
    return here and parent.origin.port in ports
