"""Reverse routes out of drafts: their defaults, and what does not go together."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.cassette_name import default_cassette_name
from buffr.config.problems import Problems, shown
from buffr.config.reading import Given
from buffr.config.reverse import ReverseRoute
from buffr.config.schema import made, settings_of
from buffr.config.shapes import Draft
from buffr.policy.mode import Mode

__all__ = [
    "check_tls",
    "finish_routes",
    "refuse_address_behind_parent",
    "refuse_half",
    "warn_of_risks",
]

_HIGHEST_PORT = 65535
_FIRST_PORT = 8080


def finish_routes(
    drafts: tuple[Draft, ...], data_dir: Path, problems: Problems
) -> tuple[ReverseRoute, ...]:
    """The routes with their defaults; a route with a problem is left out."""
    ports = [_port(draft, index, problems) for index, draft in enumerate(drafts)]
    _refuse_shared_ports(drafts, ports, problems)
    routes = []
    for draft, port in zip(drafts, ports, strict=True):
        refuse_half(draft, "client_cert", "client_key", problems)
        refuse_half(draft, "cert", "key", problems)
        refuse_address_behind_parent(draft, problems)
        check_tls(draft, problems)
        warn_of_uncached(draft, given_modes(draft), problems)
        route = _finished(draft, port, data_dir, problems)
        if route is not None:
            routes.append(route)
    warn_of_risks(drafts, problems)
    _warn_of_shared_cassettes(routes, problems)
    return tuple(routes)


def _port(draft: Draft, index: int, problems: Problems) -> Given:
    port = draft.given.get("port")
    if port is not None:
        return port
    number = _FIRST_PORT + index
    if number > _HIGHEST_PORT:
        problems.error(draft.at, f"{draft.path}.port", f"is missing; {number} is no port")
    return Given(draft.at, number, broken=number > _HIGHEST_PORT)


def _refuse_shared_ports(drafts: tuple[Draft, ...], ports: list[Given], problems: Problems) -> None:
    taken: dict[int, str] = {}
    for draft, port in zip(drafts, ports, strict=True):
        if port.broken or port.value == 0:
            continue
        if port.value in taken:
            by_default = "" if "port" in draft.given else ", the default here,"
            problems.error(
                port.at,
                f"{draft.path}.port",
                f"{port.value}{by_default} is the port of {taken[port.value]} already; "
                "must be another, or 0 for a free one",
            )
        else:
            taken[port.value] = draft.path


def _finished(draft: Draft, port: Given, data_dir: Path, problems: Problems) -> ReverseRoute | None:
    given = draft.given | {"port": port}
    if draft.broken or any(one.broken for one in given.values()):
        return None
    values = {name: one.value for name, one in given.items()}
    values.setdefault("tls", "cert" in values)
    if values.get("target") is None:
        return _without_target(draft, values, problems)
    values.setdefault("cassette", data_dir / default_cassette_name(values["target"]))
    return made(ReverseRoute, values)


def _without_target(
    draft: Draft, values: dict[str, Any], problems: Problems
) -> ReverseRoute | None:
    if values.get("mode") is not Mode.REPLAY:
        text = f"is missing; must be {kinds.TARGET.allowed}"
        problems.error(draft.at, f"{draft.path}.target", text)
    elif "cassette" not in values:
        text = "is missing; must be a path, since there is no target to name it after"
        problems.error(draft.at, f"{draft.path}.cassette", text)
    else:
        return made(ReverseRoute, values)
    return None


def refuse_half(draft: Draft, one: str, other: str, problems: Problems) -> None:
    """Two settings come together or not at all."""
    for name, missing in ((one, other), (other, one)):
        if name in draft.given and missing not in draft.given:
            text = f"is missing; {one} and {other} go together"
            problems.error(draft.given[name].at, f"{draft.path}.{missing}", text)


def refuse_address_behind_parent(draft: Draft, problems: Problems) -> None:
    """A parent proxy gets the host's name, and connects to what that resolves to there."""
    resolve, via = draft.given.get("resolve"), draft.given.get("via")
    if resolve is not None and via is not None and not via.broken and via.value != "none":
        text = "has no effect behind the parent proxy of via; leave one of them out"
        problems.error(resolve.at, f"{draft.path}.resolve", text)


def check_tls(draft: Draft, problems: Problems) -> None:
    """Refuse what a port says of its TLS and cannot be."""
    given = draft.given
    tls = given.get("tls")
    if tls is not None and tls.value is False and "cert" in given:
        problems.error(tls.at, f"{draft.path}.tls", "is false, and there is a cert for it")
    names = given.get("tls_names")
    if names is None:
        return
    if "cert" in given:
        text = "is for a certificate of buffr's CA; a cert of its own has its names"
        problems.error(names.at, f"{draft.path}.tls_names", text)
    elif tls is None or tls.value is False:
        problems.error(names.at, f"{draft.path}.tls_names", "is for a port with tls: true")


def given_modes(*drafts: Draft) -> frozenset[Mode]:
    """The modes that are given there."""
    modes = [draft.given["mode"] for draft in drafts if "mode" in draft.given]
    return frozenset(mode.value for mode in modes if not mode.broken)


def warn_of_uncached(draft: Draft, modes: Container[Mode], problems: Problems) -> None:
    """What is for mode cache does nothing where only other modes are."""
    if Mode.CACHE in modes:
        return
    for one in settings_of(CacheSettings):
        given = draft.given.get(one.name)
        if given is not None:
            path = f"{draft.path}.{one.key}"
            problems.warn(given.at, path, "is not used, since it is for mode cache")


def warn_of_risks(drafts: tuple[Draft, ...], problems: Problems) -> None:
    """What is allowed, and is to be said at every start."""
    for draft in drafts:
        verify = draft.given.get("verify")
        if verify is not None and verify.value is False:
            path = f"{draft.path}.verify"
            problems.warn(verify.at, path, f"the certificate of {_named(draft)} is not verified")


def _named(draft: Draft) -> str:
    """The upstream that a draft is for."""
    for name in ("host", "target"):
        given = draft.given.get(name)
        if given is not None and not given.broken:
            return str(getattr(given.value, "url", given.value))
    return "the upstream"


def _warn_of_shared_cassettes(routes: list[ReverseRoute], problems: Problems) -> None:
    """Behind a reverse port the host is no part of a recording: only the route tells it."""
    users: dict[Path, ReverseRoute] = {}
    for route in routes:
        other = users.setdefault(route.cassette, route)
        if route.target and other.target and route.target != other.target:
            text = (
                f"holds recordings of {other.target.url} and of {route.target.url}, "
                "which answer for each other; give each a cassette"
            )
            problems.warn(shown(str(route.cassette)), "", text)
