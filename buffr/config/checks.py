"""Rows out of drafts: their defaults, and what does not go together."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import evolve

from buffr.config import kinds
from buffr.config.caching import CacheSettings
from buffr.config.forward import ForwardHost, ForwardSettings, host_cassette
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.model import Config
from buffr.config.parents import ParentProxies, ParentProxy, is_this_machine
from buffr.config.problems import Problems, shown
from buffr.config.reverse import ReverseRoute
from buffr.config.route import default_cassette_name
from buffr.config.schema import made, settings_of
from buffr.config.shapes import Draft, Given
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode

__all__ = [
    "check_forward",
    "check_gateway",
    "check_tls",
    "finish_forward",
    "finish_gateway",
    "finish_routes",
    "refuse_address_behind_parent",
    "refuse_half",
    "refuse_loops",
    "warn_of_risks",
    "without_loops",
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


_ADMIN = "admin"


def finish_gateway(draft: Draft, data_dir: Path, problems: Problems) -> GatewaySettings | None:
    """The gateway with its defaults; ``None`` where something is wrong with it."""
    found = len(problems.errors)
    routes = draft.given.get("routes", Given(draft.at, ()))
    rows: tuple[Draft, ...] = () if routes.broken else routes.value
    refuse_half(draft, "cert", "key", problems)
    check_tls(draft, problems)
    for row in rows:
        refuse_half(row, "client_cert", "client_key", problems)
    for row in rows:
        warn_of_uncached(row, given_modes(row) or (Mode.CACHE,), problems)
    warn_of_risks(rows, problems)
    if not rows and not routes.broken:
        text = "is missing; must name at least one route, such as wiki: {target: https://...}"
        problems.error(routes.at, f"{draft.path}.routes", text)
    all_given = [draft, *rows]
    if any(one.broken or any(x.broken for x in one.given.values()) for one in all_given):
        return None
    if len(problems.errors) > found or any("target" not in row.given for row in rows):
        return None
    values = {name: one.value for name, one in draft.given.items()}
    values.setdefault("tls", "cert" in values)
    settings = made(
        GatewaySettings, values | {"routes": tuple(_row(row, data_dir) for row in rows)}
    )
    if settings.admin.enabled:
        _refuse_name(rows, problems)
    return settings


def _row(draft: Draft, data_dir: Path) -> GatewayRow:
    values = {name: one.value for name, one in draft.given.items()}
    values.setdefault("cassette", data_dir / f"{values['name']}.json")
    return made(GatewayRow, values)


def _refuse_name(rows: tuple[Draft, ...], problems: Problems) -> None:
    for row in rows:
        if row.given["name"].value == _ADMIN:
            text = "is the place of gateway.admin; rename it, or leave gateway.admin.enabled out"
            problems.error(row.at, row.path, text)


def check_gateway(draft: Draft, config: Config, problems: Problems) -> None:
    """Refuse a port that another listener has, and warn where everybody may come in."""
    gateway = config.gateway
    if gateway is None:
        return
    others = [(f"reverse[{index}]", route.port) for index, route in enumerate(config.reverse)]
    if config.forward is not None:
        others.append(("forward", config.forward.port))
    for path, port in others:
        if port and port == gateway.port:
            given = draft.given.get("port")
            by_default = "" if given else ", the default here,"
            problems.error(
                given.at if given else draft.at,
                f"{draft.path}.port",
                f"{port}{by_default} is the port of {path} already; "
                "must be another, or 0 for a free one",
            )
    own = config.access if gateway.access is None else gateway.access
    if not config.on_loopback and config.access_to(gateway.access).is_open and not own.required:
        text = f"whoever reaches {config.listen} may use it; give access.key or access.allow"
        problems.warn(draft.at, draft.path, text)


def finish_forward(draft: Draft, data_dir: Path, problems: Problems) -> ForwardSettings | None:
    """The forward proxy with its defaults; ``None`` where something is wrong with it."""
    found = len(problems.errors)
    hosts = draft.given.get("hosts", Given(draft.at, ()))
    rows: tuple[Draft, ...] = () if hosts.broken else hosts.value
    _refuse_twins(rows, problems)
    for row in rows:
        refuse_half(row, "client_cert", "client_key", problems)
        refuse_address_behind_parent(row, problems)
        _refuse_unverified_all(row, problems)
        warn_of_uncached(row, given_modes(row if "mode" in row.given else draft), problems)
    warn_of_uncached(draft, given_modes(draft, *rows), problems)
    warn_of_risks(rows, problems)
    all_given = [draft, *rows]
    if any(one.broken or any(x.broken for x in one.given.values()) for one in all_given):
        return None
    if len(problems.errors) > found or any("host" not in row.given for row in rows):
        return None
    values = {name: one.value for name, one in draft.given.items() if name != "hosts"}
    general = made(ForwardSettings, values)
    defaults: dict[str, Any] = {
        "mode": general.mode,
        "match": general.match,
        "websocket": general.websocket,
        "re_record_after_s": general.re_record_after_s,
    }
    cached = [one.name for one in settings_of(CacheSettings)]
    for name in ("ca_file", "via", "lenient", *cached):
        if name in values:
            defaults[name] = values[name]
    return made(
        ForwardSettings,
        values
        | {"hosts": tuple(_host(row, defaults, data_dir) for row in rows), "data_dir": data_dir},
    )


def _host(row: Draft, defaults: dict[str, Any], data_dir: Path) -> ForwardHost:
    values = defaults | {name: one.value for name, one in row.given.items()}
    values.setdefault("cassette", host_cassette(data_dir, values["host"]))
    return made(ForwardHost, values)


def _refuse_twins(rows: tuple[Draft, ...], problems: Problems) -> None:
    known: dict[str, str] = {}
    for row in rows:
        host = row.given.get("host")
        if host is None or host.broken:
            continue
        if host.value in known:
            text = f"is the host of {known[host.value]} already"
            problems.error(host.at, f"{row.path}.host", text)
        else:
            known[host.value] = row.path


def _refuse_unverified_all(row: Draft, problems: Problems) -> None:
    host, verify = row.given.get("host"), row.given.get("verify")
    if verify is not None and verify.value is False and host and host.value == EVERY_HOST:
        text = "is false for all hosts; name those whose certificates are not to be verified"
        problems.error(verify.at, f"{row.path}.verify", text)


def check_forward(draft: Draft, config: Config, problems: Problems) -> None:
    """Refuse what does not go together with the other settings."""
    if config.forward is not None:
        _refuse_shared_port(draft, config.forward.port, config.reverse, problems)
    access = config.access
    if not (config.on_loopback or access.key or access.allow or access.required):
        text = (
            f"refuses to start on {config.listen}, where other machines reach it, for everybody; "
            "give access.key (BUFFR_KEY), or access.allow (BUFFR_ALLOW) with networks, or both"
        )
        problems.error(draft.at, draft.path, text)


def _refuse_shared_port(
    draft: Draft, port: int, routes: tuple[ReverseRoute, ...], problems: Problems
) -> None:
    for index, route in enumerate(routes):
        if port and route.port == port:
            given = draft.given.get("port")
            by_default = "" if given else ", the default here,"
            problems.error(
                given.at if given else draft.at,
                f"{draft.path}.port",
                f"{port}{by_default} is the port of reverse[{index}] already; "
                "must be another, or 0 for a free one",
            )


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
