"""Which reverse routes there are, out of all the places that can name them.

The first of these that is there gives the routes, and replaces the others:

1. one target, by flag or ``BUFFR_TARGET`` (or mode replay with a cassette,
   by flags or variables, which needs no target): a single route;
2. ``BUFFR_TARGETS``;
3. ``BUFFR_0_TARGET``, ``BUFFR_1_TARGET`` and so on;
4. ``reverse:`` of the file.

What flags and variables say beside that holds over what a route of the file
says: mode, ``keep_host``, ``repeat`` and ``ca_file`` for every route, a port
and a cassette for the only one. Over a route that comes from variables only
flags hold; a variable there is for what the route leaves open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from buffr.config import kinds
from buffr.config.cassette_name import default_cassette_name
from buffr.config.environment import TARGETS, Overlays
from buffr.config.model import ReverseRoute
from buffr.config.problems import Problems, shown
from buffr.config.reading import Given
from buffr.config.shapes import Draft
from buffr.policy.mode import Mode

__all__ = ["choose_routes", "finish_routes"]

_HIGHEST_PORT = 65535
_FIRST_PORT = 8080
_OF_ONE_ROUTE = ("port", "cassette")
_NO_ROUTE = (
    "no route: give a target by flag (--target https://api.example.com), "
    "by variable (BUFFR_TARGET=https://api.example.com), "
    "or in a YAML file (reverse: [{target: https://api.example.com}]); "
    "mode replay needs only a cassette (--cassette FILE, BUFFR_CASSETTE=FILE)"
)


def choose_routes(
    file: tuple[Draft, ...], variables: Overlays, flags: Overlays, problems: Problems
) -> tuple[Draft, ...]:
    """The routes as written, with what flags and variables say over them."""
    single = variables.route | flags.route
    if "target" in single or ("cassette" in single and _mode(single) is Mode.REPLAY):
        first = next(iter(flags.route.values() or variables.route.values()))
        _warn_of_unused(variables, flags, problems)
        return (Draft(first.at, "reverse[0]", single),)
    if variables.targets is not None:
        drafts = variables.targets
        if variables.numbered:
            problems.warn(variables.numbered[0].at, "", f"is not used, since {TARGETS} is given")
    else:
        drafts = variables.numbered or file
    if not drafts and not problems.errors:
        problems.error("", "", _NO_ROUTE)
    return _under(drafts, variables, flags, problems)


def _mode(given: dict[str, Given]) -> Mode | None:
    mode = given.get("mode")
    return mode.value if mode else None


def _warn_of_unused(variables: Overlays, flags: Overlays, problems: Problems) -> None:
    """Flags win over variables as a matter of course; of variables, one is there in vain."""
    if flags.route:
        return
    for at, there in ((TARGETS, variables.targets), ("BUFFR_0_TARGET", variables.numbered)):
        if there:
            problems.warn(at, "", "is not used, since other variables name a single route")


def _under(
    drafts: tuple[Draft, ...], variables: Overlays, flags: Overlays, problems: Problems
) -> tuple[Draft, ...]:
    over = variables.route | flags.route
    from_variables = variables.targets is not None or variables.numbered is not None
    if len(drafts) != 1:
        for name in _OF_ONE_ROUTE:
            one = over.pop(name, None)
            if one is not None and drafts:
                text = f"is for a single route, and there are {len(drafts)}"
                # The first buffr passed such a variable over; containers may rely on that.
                tell = problems.error if name in flags.route else problems.warn
                tell(one.at, name, text)
    if from_variables:
        # BUFFR_0_PORT says more than BUFFR_PORT.
        flagged = {name: one for name, one in over.items() if name in flags.route}
        return tuple(evolve(draft, given=over | draft.given | flagged) for draft in drafts)
    return tuple(evolve(draft, given=draft.given | over) for draft in drafts)


def finish_routes(
    drafts: tuple[Draft, ...], data_dir: Path, problems: Problems
) -> tuple[ReverseRoute, ...]:
    """The routes with their defaults; a route with a problem is left out."""
    ports = [_port(draft, index, problems) for index, draft in enumerate(drafts)]
    _refuse_shared_ports(drafts, ports, problems)
    routes = []
    for draft, port in zip(drafts, ports, strict=True):
        route = _finished(draft, port, data_dir, problems)
        if route is not None:
            routes.append(route)
    _warn_of_risks(drafts, problems)
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
    if values.get("target") is None:
        return _without_target(draft, values, problems)
    values.setdefault("cassette", data_dir / default_cassette_name(values["target"]))
    return ReverseRoute(**values)


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
        return ReverseRoute(**values)
    return None


def _warn_of_risks(drafts: tuple[Draft, ...], problems: Problems) -> None:
    for draft in drafts:
        verify = draft.given.get("verify")
        if verify is not None and verify.value is False:
            path = f"{draft.path}.verify"
            problems.warn(verify.at, path, "the upstream's certificate is not verified")


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
