"""Turns drafts into rows: fills in defaults, and refuses settings that contradict each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from buffr.config import kinds
from buffr.config.forward import ForwardHost, ForwardSettings, host_cassette
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.model import Config
from buffr.config.parents import ParentProxies, ParentProxy, is_this_machine
from buffr.config.problems import Problems, shown
from buffr.config.reverse import ReverseRoute
from buffr.config.route import RouteSettings, default_cassette_name
from buffr.config.schema import Setting, made, settings_of
from buffr.config.shapes import Draft, Given
from buffr.policy.hosts import EVERY_HOST
from buffr.policy.mode import Mode

__all__ = [
    "check_forward",
    "check_gateway",
    "finish_forward",
    "finish_gateway",
    "finish_routes",
    "refuse_loops",
    "without_loops",
]

_HIGHEST_PORT = 65535
_FIRST_PORT = 8080
_FORWARD = "forward"


def finish_routes(
    drafts: tuple[Draft, ...], data_dir: Path, problems: Problems
) -> tuple[ReverseRoute, ...]:
    """The routes with their defaults; a route with a problem is omitted."""
    ports = [_port(draft, index, problems) for index, draft in enumerate(drafts)]
    _refuse_shared_ports(drafts, ports, problems)
    routes = []
    for draft, port in zip(drafts, ports, strict=True):
        _check_listener(draft, problems)
        _check_route(ReverseRoute, draft, [draft], problems)
        _check_rewrite(draft, problems)
        route = _finished(draft, port, data_dir, problems)
        if route is not None:
            routes.append(route)
    _warn_of_shared_cassettes(routes, problems)
    return tuple(routes)


def _port(draft: Draft, index: int, problems: Problems) -> Given:
    port = draft.given.get("port")
    if port is not None:
        return port
    number = _FIRST_PORT + index
    if number > _HIGHEST_PORT:
        problems.error(draft.at, f"{draft.path}.port", f"is missing; {number} is not a port")
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
                f"{port.value}{by_default} is already the port of {taken[port.value]}; "
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
        text = "is missing; must be a path, since there is no target to derive it from"
        problems.error(draft.at, f"{draft.path}.cassette", text)
    else:
        return made(ReverseRoute, values)
    return None


def _check_rewrite(draft: Draft, problems: Problems) -> None:
    """Refuse to rewrite addresses of a target that is not known."""
    rewrite = draft.given.get("rewrite")
    if rewrite is not None and rewrite.value is True and "target" not in draft.given:
        text = "requires a target, whose addresses are rewritten"
        problems.error(rewrite.at, f"{draft.path}.rewrite", text)


def _check_listener(draft: Draft, problems: Problems) -> None:
    """Refuse contradictory settings of a listener."""
    given = draft.given
    _refuse_half(draft, "cert", "key", problems)
    tls = given.get("tls")
    if tls is not None and tls.value is False and "cert" in given:
        text = "is false, but cert is set; remove one of them"
        problems.error(tls.at, f"{draft.path}.tls", text)
    names = given.get("tls_names")
    if names is None:
        return
    if "cert" in given:
        text = (
            "applies to certificates of buffr's CA only; the certificate in cert has its own names"
        )
        problems.error(names.at, f"{draft.path}.tls_names", text)
    elif tls is None or tls.value is False:
        problems.error(names.at, f"{draft.path}.tls_names", "requires tls: true")


def _check_route(model: type, draft: Draft, users: Sequence[Draft], problems: Problems) -> None:
    """Refuse contradictory settings of a route, and warn about risks.

    ``users`` are the drafts that determine the modes in which its settings are used.
    """
    _refuse_half(draft, "client_cert", "client_key", problems)
    _refuse_address_behind_parent(draft, problems)
    _check_verify(draft, problems)
    _refuse_unused(model, draft, users, problems)


def _refuse_half(draft: Draft, one: str, other: str, problems: Problems) -> None:
    """Refuse one of two settings that go together without the other."""
    for name, missing in ((one, other), (other, one)):
        if name in draft.given and missing not in draft.given:
            text = f"is missing; {one} and {other} go together"
            problems.error(draft.given[name].at, f"{draft.path}.{missing}", text)


def _refuse_address_behind_parent(draft: Draft, problems: Problems) -> None:
    """Refuse ``resolve`` behind a parent proxy, which resolves the host by itself."""
    resolve, via = draft.given.get("resolve"), draft.given.get("via")
    if resolve is not None and via is not None and not via.broken and via.value != "none":
        text = "has no effect behind the parent proxy of via; remove one of them"
        problems.error(resolve.at, f"{draft.path}.resolve", text)


def _check_verify(draft: Draft, problems: Problems) -> None:
    """Refuse to trust every host, and warn about one whose certificate is not verified."""
    verify, host = draft.given.get("verify"), draft.given.get("host")
    if verify is None or verify.value is not False:
        return
    path = f"{draft.path}.verify"
    if draft.path == _FORWARD or (host is not None and host.value == EVERY_HOST):
        text = "is false for all hosts; set it for individual hosts only"
        problems.error(verify.at, path, text)
    else:
        problems.warn(verify.at, path, f"the certificate of {_named(draft)} is not verified")


def _refuse_unused(model: type, draft: Draft, users: Sequence[Draft], problems: Problems) -> None:
    """Refuse settings that none of the modes use.

    It is only a warning if the setting and the mode come from different
    sources, since ``BUFFR_MODE`` makes a whole file replay; and in mode
    passthrough, which serves to switch buffr off temporarily.
    """
    declared = {one.name: one for one in settings_of(model)}
    default = Given("", declared["mode"].default)
    given = [user.given.get("mode", default) for user in users]
    modes = {one.value for one in given if not one.broken}
    if not modes:
        return
    switched_off = Mode.PASSTHROUGH in modes
    from_file = any(_level(declared["mode"], one) == 0 for one in given)
    for name, value in draft.given.items():
        one = declared.get(name)
        if one is None or one.modes is None or one.modes & modes:
            continue
        path, level = f"{draft.path}.{one.key}", _level(one, value)
        if switched_off or level == _BY_VARIABLE or (level == 0) != from_file:
            problems.warn(value.at, path, f"is not used; it applies to {_listed(one.modes)}")
        else:
            text = f"has no effect in {_listed(modes)}, only in {_listed(one.modes)}"
            problems.error(value.at, path, f"{text}; remove it, or change the mode")


_BY_VARIABLE, _BY_FLAG = 1, 2


def _level(one: Setting, given: Given) -> int:
    """0 if a value is the row's own or the default."""
    if one.variable and given.at == one.variable:
        return _BY_VARIABLE
    return _BY_FLAG if given.at.startswith("--") else 0


def _listed(modes: Collection[Mode]) -> str:
    names = [mode.value for mode in Mode if mode in modes]
    if len(names) == 1:
        return f"mode {names[0]}"
    return f"modes {', '.join(names[:-1])} and {names[-1]}"


def _named(draft: Draft) -> str:
    """The upstream of a draft."""
    for name in ("host", "target"):
        given = draft.given.get(name)
        if given is not None and not given.broken:
            return str(getattr(given.value, "url", given.value))
    return "the upstream"


def _warn_of_shared_cassettes(routes: list[ReverseRoute], problems: Problems) -> None:
    """Recordings of a reverse port do not contain the host: only the route determines it."""
    users: dict[Path, ReverseRoute] = {}
    for route in routes:
        other = users.setdefault(route.cassette, route)
        if route.target and other.target and route.target != other.target:
            text = (
                f"holds recordings of {other.target.url} and of {route.target.url}, "
                "which answer for each other; give each its own cassette"
            )
            problems.warn(shown(str(route.cassette)), "", text)


_ADMIN = "admin"


def finish_gateway(draft: Draft, data_dir: Path, problems: Problems) -> GatewaySettings | None:
    """The gateway with its defaults; ``None`` if something is wrong with it."""
    found = len(problems.errors)
    routes = draft.given.get("routes", Given(draft.at, ()))
    rows: tuple[Draft, ...] = () if routes.broken else routes.value
    _check_listener(draft, problems)
    for row in rows:
        _check_route(GatewayRow, row, [row], problems)
    if not rows and not routes.broken:
        text = "is missing; must contain at least one route, such as wiki: {target: https://...}"
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
            text = "is reserved for gateway.admin; rename it, or turn gateway.admin.enabled off"
            problems.error(row.at, row.path, text)


def check_gateway(draft: Draft, config: Config, problems: Problems) -> None:
    """Refuse a port that another listener has, and warn if access is unrestricted."""
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
                f"{port}{by_default} is already the port of {path}; "
                "must be another, or 0 for a free one",
            )
    own = config.access if gateway.access is None else gateway.access
    if not config.on_loopback and config.access_to(gateway.access).is_open and not own.required:
        text = f"anyone who can reach {config.listen} may use it; set access.key or access.allow"
        problems.warn(draft.at, draft.path, text)


def finish_forward(draft: Draft, data_dir: Path, problems: Problems) -> ForwardSettings | None:
    """The forward proxy with its defaults; ``None`` if something is wrong with it."""
    found = len(problems.errors)
    hosts = draft.given.get("hosts", Given(draft.at, ()))
    rows: tuple[Draft, ...] = () if hosts.broken else hosts.value
    _check_listener(draft, problems)
    _refuse_twins(rows, problems)
    for row in rows:
        _check_route(ForwardHost, row, [row if "mode" in row.given else draft], problems)
    users = [draft, *(row for row in rows if "mode" in row.given)]
    _check_route(ForwardSettings, draft, users, problems)
    all_given = [draft, *rows]
    if any(one.broken or any(x.broken for x in one.given.values()) for one in all_given):
        return None
    if len(problems.errors) > found or any("host" not in row.given for row in rows):
        return None
    values = {name: one.value for name, one in draft.given.items() if name != "hosts"}
    values.setdefault("tls", "cert" in values)
    shared = {one.name for one in settings_of(RouteSettings)}
    defaults = {name: value for name, value in values.items() if name in shared}
    return made(
        ForwardSettings,
        values
        | {"hosts": tuple(_host(row, defaults, data_dir) for row in rows), "data_dir": data_dir},
    )


def _host(row: Draft, defaults: dict[str, Any], data_dir: Path) -> ForwardHost:
    own = {name: one.value for name, one in row.given.items()}
    # A row's own parent proxy or address replaces both.
    ways = {"via", "resolve"}
    if ways & own.keys():
        defaults = {name: value for name, value in defaults.items() if name not in ways}
    values = defaults | own
    values.setdefault("cassette", host_cassette(data_dir, values["host"]))
    return made(ForwardHost, values)


def _refuse_twins(rows: tuple[Draft, ...], problems: Problems) -> None:
    known: dict[str, str] = {}
    for row in rows:
        host = row.given.get("host")
        if host is None or host.broken:
            continue
        if host.value in known:
            text = f"is already the host of {known[host.value]}"
            problems.error(host.at, f"{row.path}.host", text)
        else:
            known[host.value] = row.path


def check_forward(draft: Draft, config: Config, problems: Problems) -> None:
    """Refuse settings that contradict those of other sections."""
    if config.forward is not None:
        _refuse_shared_port(draft, config.forward.port, config.reverse, problems)
    own = None if config.forward is None else config.forward.access
    access = config.access if own is None else own
    if not (config.on_loopback or access.key or access.allow or access.required):
        text = (
            f"refuses to start without access control on {config.listen}, where other machines "
            "can reach it; set access.key (BUFFR_KEY), access.allow (BUFFR_ALLOW), or both"
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
                f"{port}{by_default} is already the port of reverse[{index}]; "
                "must be another, or 0 for a free one",
            )


_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def refuse_loops(drafts: Iterable[Draft], config: Config, problems: Problems) -> None:
    """Refuse a ``via`` that points to one of buffr's own ports."""
    for draft in _with_rows(drafts):
        via = draft.given.get("via")
        if via is not None and isinstance(via.value, ParentProxy) and _is_own(via.value, config):
            problems.error(
                via.at, f"{draft.path}.via", "is one of buffr's own ports; must be another"
            )


def _with_rows(drafts: Iterable[Draft]) -> Iterator[Draft]:
    for draft in drafts:
        yield draft
        for name in ("hosts", "routes"):
            rows = draft.given.get(name)
            if rows is not None and not rows.broken:
                yield from rows.value


def without_loops(config: Config, problems: Problems) -> ParentProxies:
    """The environment's parent proxies without buffr itself.

    The shell that starts it may be configured for its clients.
    """

    def usable(parent: ParentProxy | None, scheme: str) -> ParentProxy | None:
        if parent is None or not _is_own(parent, config):
            return parent
        text = (
            f"the environment's proxy for {scheme}:// is buffr itself; not used as a parent proxy"
        )
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
