"""Chooses the listeners from all the sources that can define them.

The first of these sources that is present is used; the others are not:

1. the forward proxy, by ``buffr proxy`` or ``--mode proxy``;
2. ``--target``: a single route;
3. ``BUFFR_MODE=proxy``: the forward proxy; another mode, by flag or variable,
   with ``BUFFR_TARGET`` (or mode replay with a cassette, which needs no
   target): a single route;
4. ``BUFFR_PROXY``: the forward proxy;
5. ``BUFFR_TARGET``;
6. ``BUFFR_TARGETS``;
7. ``BUFFR_0_TARGET``, ``BUFFR_1_TARGET`` and so on;
8. ``reverse:``, ``gateway:`` and ``forward:`` in the file, in any combination.

A single route of 2, 3 or 5 takes the settings of the file's row with its
target, or without a target, with its cassette. If a flag names another target
and the file has listeners, that is a warning, or with a mode an error.

The forward proxy of 1 and 3 is described by ``BUFFR_PROXY``, or else by
``forward:`` in the file, or else has all defaults.

Other flags and variables override the file: mode, ``keep_host``, ``repeat``,
``ca_file``, ``store`` and ``ttl`` for every route, a port and a cassette for
the only one. The rules of ``--match-json`` and the like are added to those of
each route; ``--match`` and ``--match-on`` override. Only flags override
listeners that come from variables; variables then apply to settings that they
leave out.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from buffr.config.environment import MODE, PROXY, TARGETS, Overlays
from buffr.config.forward import ForwardHost, ForwardSettings
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.problems import Problems
from buffr.config.reverse import ReverseRoute
from buffr.config.route import MatchSettings
from buffr.config.schema import settings_of
from buffr.config.shapes import Draft, Given
from buffr.origin import Origin
from buffr.policy.mode import Mode

__all__ = ["Chosen", "choose"]

_ROUTES_OWN = ("target", "cassette")
_NO_ROUTE = (
    "no route: set a target by flag (--target https://api.example.com), "
    "by variable (BUFFR_TARGET=https://api.example.com), "
    "or in a YAML file (reverse: [{target: https://api.example.com}]); "
    "mode replay needs only a cassette (--cassette FILE, BUFFR_CASSETTE=FILE); "
    "the forward proxy needs none (buffr proxy, BUFFR_MODE=proxy, forward: {} in a file)"
)


@frozen
class Chosen:
    """The listeners as written, with flags and variables applied."""

    reverse: tuple[Draft, ...] = ()
    forward: Draft | None = None
    gateway: Draft | None = None


def choose(file: Chosen, variables: Overlays, flags: Overlays, problems: Problems) -> Chosen:
    """The listeners to start, from the file, the variables and the flags."""
    chosen = _chosen(file, variables, flags, problems)
    return _matched_by(flags.match, chosen) if flags.match else chosen


def _matched_by(rules: dict[str, Given], chosen: Chosen) -> Chosen:
    """The same listeners, with these rules for matching in each route."""
    reverse = tuple(_with_rules(row, rules) for row in chosen.reverse)
    forward, gateway = chosen.forward, chosen.gateway
    if forward is not None:
        # A host without rules of its own inherits those of the proxy.
        rows = _each(forward, "hosts", lambda row: "match" in row.given, rules)
        forward = _with_rules(rows, rules)
    if gateway is not None:
        gateway = _each(gateway, "routes", lambda _: True, rules)
    return Chosen(reverse, forward, gateway)


def _each(
    draft: Draft, name: str, wanted: Callable[[Draft], bool], rules: dict[str, Given]
) -> Draft:
    rows = draft.given.get(name)
    if rows is None or rows.broken:
        return draft
    changed = tuple(_with_rules(row, rules) if wanted(row) else row for row in rows.value)
    return evolve(draft, given=draft.given | {name: evolve(rows, value=changed)})


def _with_rules(draft: Draft, rules: dict[str, Given]) -> Draft:
    own = draft.given.get("match") or Given(next(iter(rules.values())).at, MatchSettings())
    if own.broken or any(one.broken for one in rules.values()):
        match = evolve(own, broken=True)
    else:
        changes = {name: _combined(name, own.value, one.value) for name, one in rules.items()}
        match = evolve(own, value=evolve(own.value, **changes))
    return evolve(draft, given=draft.given | {"match": match})


def _combined(name: str, own: MatchSettings, more: object) -> object:
    """Lists of rules grow; a preset and the parts that count are replaced."""
    if isinstance(more, tuple) and name != "on":
        return (*getattr(own, name), *more)
    return more


def _chosen(file: Chosen, variables: Overlays, flags: Overlays, problems: Problems) -> Chosen:
    single = variables.route | flags.route
    if flags.wants_forward:
        return _forward_alone(flags.at, file, variables, flags, problems)
    if "target" not in flags.route:
        if variables.wants_forward and "mode" not in flags.route:
            return _forward_alone(MODE, file, variables, flags, problems)
        commanded = "mode" in single and _is_route(single)
        if variables.forward is not None and not commanded:
            return _forward_alone(PROXY, file, variables, flags, problems)
    if _is_route(single):
        first = next(iter(flags.route.values() or variables.route.values()))
        _warn_of_unused(variables, flags, problems)
        _refuse_flags(flags, _names_of(ReverseRoute), problems)
        given = {name: one for name, one in single.items() if name in _names_of(ReverseRoute)}
        row = _row_of(file, single, flags, problems)
        rules = {} if row is None else row.given
        return Chosen((Draft(first.at, "reverse[0]", rules | given),))
    return _several(file, variables, flags, problems)


def _row_of(
    file: Chosen, single: dict[str, Given], flags: Overlays, problems: Problems
) -> Draft | None:
    """The row of the file with a single route's target, or else its cassette.

    If a flag matches none of the rows, that is a warning, since their settings
    are not applied; with a mode (``buffr replay --target URL``) it is an error.
    """
    name = "target" if "target" in single else "cassette"
    wanted = single[name]
    if wanted.broken:
        return None
    named = [row for row in file.reverse if _has(row, name, wanted.value)]
    port = flags.route.get("port")
    if len(named) > 1 and port is not None:
        named = [row for row in named if _has(row, "port", port.value)]
    if len(named) == 1 or wanted.at != f"--{name}":
        return named[0] if named else None
    refused = name == "target" and "mode" in flags.route
    report = problems.error if refused else problems.warn
    if named:
        places = " and ".join(row.path for row in named)
        report(wanted.at, "", f"{places} have this {name}; choose one by its --port")
    elif listed := [*file.reverse, *filter(None, (file.gateway, file.forward))]:
        places = ", ".join(_shown_row(row, name) for row in listed)
        text = f"no row of the settings file has this {name}, so its settings are not used; "
        hint = f"it has {places}; add a row under 'reverse:', or omit the file"
        report(wanted.at, "", text + hint)
    return None


def _has(row: Draft, name: str, value: object) -> bool:
    given = row.given.get(name)
    return given is not None and not given.broken and given.value == value


def _shown_row(row: Draft, name: str) -> str:
    given = row.given.get(name)
    if given is None or given.broken:
        return row.path
    shown = given.value.url if isinstance(given.value, Origin) else given.value
    return f"{row.path} ({shown})"


def _is_route(given: dict[str, Given]) -> bool:
    mode = given.get("mode")
    replays = mode is not None and mode.value is Mode.REPLAY
    return "target" in given or ("cassette" in given and replays)


def _names_of(model: type) -> set[str]:
    """The settings of a model that variables or flags can set."""
    return {one.name for one in settings_of(model) if one.variable or one.flag}


def _warn_of_unused(variables: Overlays, flags: Overlays, problems: Problems) -> None:
    """Warn about unused variables, unless flags were given, which always override them."""
    if flags.route:
        return
    why = "is not used, since other variables define a single route"
    for at, there in _plural(variables).items():
        if there:
            problems.warn(at, "", why)


def _plural(variables: Overlays) -> dict[str, bool]:
    """The variables that define listeners by themselves, and whether they are set."""
    return {
        PROXY: variables.forward is not None,
        TARGETS: bool(variables.targets),
        "BUFFR_0_TARGET": bool(variables.numbered),
    }


def _forward_alone(
    at: str, file: Chosen, variables: Overlays, flags: Overlays, problems: Problems
) -> Chosen:
    _refuse_flags(flags, _names_of(ForwardSettings), problems)
    if at in {MODE, PROXY}:
        why = f"is not used, since {at} selects the forward proxy"
        in_vain = [one.at for name, one in variables.route.items() if name in _ROUTES_OWN]
        in_vain += [name for name, there in _plural(variables).items() if there and name != PROXY]
        for name in in_vain:
            problems.warn(name, "", why)
    from_variables = variables.forward is not None
    draft = variables.forward or file.forward or Draft(at, "forward", {})
    return Chosen(forward=_forward_under(draft, variables, flags, from_variables=from_variables))


def _several(file: Chosen, variables: Overlays, flags: Overlays, problems: Problems) -> Chosen:
    chosen = file
    if variables.targets is not None:
        chosen = Chosen(variables.targets)
        if variables.numbered:
            problems.warn(variables.numbered[0].at, "", f"is not used, since {TARGETS} is set")
    elif variables.numbered:
        chosen = Chosen(variables.numbered)
    others = [one for one in (chosen.forward, chosen.gateway) if one is not None]
    if not chosen.reverse and not others and not problems.errors:
        problems.error("", "", _NO_ROUTE)
    variables, flags = _for_each(chosen, variables, flags, problems)
    from_variables = chosen is not file
    reverse = tuple(
        _under(draft, ReverseRoute, variables, flags, from_variables=from_variables)
        for draft in chosen.reverse
    )
    known = _names_of(ReverseRoute) if chosen.reverse else set()
    if chosen.gateway is not None:
        known |= _names_of(GatewaySettings) | _names_of(GatewayRow)
    if chosen.forward is not None:
        known |= _names_of(ForwardSettings)
    _refuse_flags(flags, known, problems)
    forward = gateway = None
    if chosen.forward is not None:
        forward = _forward_under(chosen.forward, variables, flags, from_variables=from_variables)
    if chosen.gateway is not None:
        gateway = _gateway_under(chosen.gateway, variables, flags)
    return Chosen(reverse, forward, gateway)


def _gateway_under(draft: Draft, variables: Overlays, flags: Overlays) -> Draft:
    """A gateway, which only a file can define, with flags and variables applied."""
    under = _under(draft, GatewaySettings, variables, flags, from_variables=False)
    routes = under.given.get("routes")
    if routes is None or routes.broken:
        return under
    rows = tuple(
        _under(row, GatewayRow, variables, flags, from_variables=False) for row in routes.value
    )
    return evolve(under, given=under.given | {"routes": evolve(routes, value=rows)})


def _refuse_flags(flags: Overlays, known: set[str], problems: Problems) -> None:
    for name in sorted(flags.route.keys() - known if known else ()):
        ours = name in _names_of(ForwardSettings)
        why = "applies to the forward proxy" if ours else "applies to a reverse port"
        problems.error(flags.route[name].at, name, why)


def _for_each(
    chosen: Chosen, variables: Overlays, flags: Overlays, problems: Problems
) -> tuple[Overlays, Overlays]:
    """Variables and flags, without those for a single listener if there are more."""
    count = len(chosen.reverse) + sum(one is not None for one in (chosen.forward, chosen.gateway))
    if count == 1 and chosen.reverse:
        return variables, flags
    names = ("port", "cassette") if count > 1 else ("cassette",)
    only = "applies to a reverse port"
    why = f"applies to a single route, but there are {count}" if count > 1 else only
    for name in names if count else ():
        # The first buffr ignored such a variable; containers may rely on that.
        if name in flags.route:
            problems.error(flags.route[name].at, name, why)
        elif name in variables.route:
            problems.warn(variables.route[name].at, name, why)
    return _without(names, variables), _without(names, flags)


def _without(names: tuple[str, ...], over: Overlays) -> Overlays:
    return evolve(over, route={name: one for name, one in over.route.items() if name not in names})


def _under(
    draft: Draft, model: type, variables: Overlays, flags: Overlays, *, from_variables: bool
) -> Draft:
    known = _names_of(model)
    general = {name: one for name, one in variables.route.items() if name in known}
    flagged = {name: one for name, one in flags.route.items() if name in known}
    # BUFFR_0_PORT is more specific than BUFFR_PORT.
    given = general | draft.given if from_variables else draft.given | general
    return evolve(draft, given=given | flagged)


def _forward_under(
    draft: Draft, variables: Overlays, flags: Overlays, *, from_variables: bool
) -> Draft:
    under = _under(draft, ForwardSettings, variables, flags, from_variables=from_variables)
    over = flags.route if from_variables else variables.route | flags.route
    over = {name: one for name, one in over.items() if name in _names_of(ForwardHost)}
    hosts = under.given.get("hosts")
    if not over or hosts is None or hosts.broken:
        return under
    rows = tuple(evolve(row, given=row.given | over) for row in hosts.value)
    return evolve(under, given=under.given | {"hosts": evolve(hosts, value=rows)})
