"""Builds the faults of a route from its settings."""

from __future__ import annotations

import random
import secrets

import re2

from buffr.config.faults import FaultSettings
from buffr.config.route import RouteSettings
from buffr.errors import ConfigError
from buffr.policy.faults import (
    Fault,
    FaultRule,
    Faults,
    Latency,
    Quota,
    Refusal,
    SessionClose,
)
from buffr.redaction.screen import compiled

__all__ = ["faults_of"]


def faults_of(row: RouteSettings) -> Faults | None:
    """The faults of a row, if it has any. Raises ``ConfigError`` for an invalid pattern.

    Their seed is written to the log where none is set, so that a run can be
    repeated.
    """
    if not row.faults:
        return None
    seed = secrets.randbelow(1 << 31) if row.fault_seed is None else row.fault_seed
    chance = random.Random(seed).random  # noqa: S311  # no secret: a run is to be repeated
    return Faults(tuple(_rule(said) for said in row.faults), chance, seed)


def _rule(said: FaultSettings) -> FaultRule:
    path = None
    if said.path is not None:
        try:
            path = compiled(said.path)
        except re2.error as error:
            raise ConfigError(f"faults: path: not a pattern (RE2): {error}") from None
    return FaultRule(
        fault=_fault(said),
        latency=_latency(said),
        quota=None if said.quota is None else Quota(said.quota, said.quota_period_s),
        share=said.chance,
        calls=said.calls,
        first=said.first,
        every=said.every,
        methods=frozenset(method.upper().encode() for method in said.methods),
        path=path,
        header=None if said.header is None else said.header.lower().encode(),
    )


def _latency(said: FaultSettings) -> Latency:
    p99_s = said.delay_p99_s
    if p99_s is not None and not 0 < said.delay_s < p99_s:
        raise ConfigError("faults: delay_p99: must be more than delay, which must be more than 0")
    if p99_s is not None and said.jitter_s:
        raise ConfigError("faults: delay_p99: does not go together with jitter; remove one of them")
    return Latency(said.delay_s, said.jitter_s, p99_s)


def _fault(said: FaultSettings) -> Fault:
    refusal = None
    if said.status is not None:
        retry_after_s = None if said.retry_after_s is None else round(said.retry_after_s)
        body = None if said.body is None else said.body.encode()
        refusal = Refusal(said.status, retry_after_s, body)
    close = None if said.close_code is None else SessionClose(said.close_code, said.close_after)
    return Fault(
        names=(_name(said, close),),
        body_delay_s=said.body_delay_s,
        refusal=refusal,
        close=close,
        reset=said.reset,
        malformed=said.malformed,
        cut_after_bytes=said.cut_after,
        cut_after_events=said.cut_after_events,
        event_delay_s=said.event_delay_s,
        bytes_per_s=said.bytes_per_second,
    )


def _name(said: FaultSettings, close: SessionClose | None) -> str:
    """The fault in a word: the first of its effects."""
    effects = {
        "reset": said.reset,
        f"status-{said.status}": said.status is not None,
        "quota": said.quota is not None,
        "malformed": said.malformed,
        "cut": said.cut_after is not None or said.cut_after_events is not None,
        "" if close is None else close.name: close is not None,
        "slow": said.bytes_per_second is not None
        or said.event_delay_s > 0
        or said.body_delay_s > 0,
    }
    return next((name for name, is_so in effects.items() if is_so), "delay")
