"""The forward proxy's settings out of a draft: their defaults, and what does not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buffr.config.caching import CacheSettings
from buffr.config.checks import (
    given_modes,
    refuse_address_behind_parent,
    refuse_half,
    warn_of_risks,
    warn_of_uncached,
)
from buffr.config.forward import ForwardHost, ForwardSettings, host_cassette
from buffr.config.model import Config
from buffr.config.problems import Problems
from buffr.config.reading import Given
from buffr.config.reverse import ReverseRoute
from buffr.config.schema import made, settings_of
from buffr.config.shapes import Draft
from buffr.policy.hosts import EVERY_HOST

__all__ = ["check_forward", "finish_forward"]


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
