"""Builds the redaction rules from the settings."""

from __future__ import annotations

from buffr.config import Config
from buffr.errors import ConfigError
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of

__all__ = ["redaction_rules"]


def redaction_rules(config: Config) -> RedactionRules:
    """The rules of the ``redact`` section. Raises ``ConfigError``.

    An invalid rule is an error, not a warning: without it, secrets would be
    written.
    """
    settings = config.redact
    rules = RedactionRules.with_extra(
        headers=settings.headers,
        fields=settings.query,
        json=settings.json,
        patterns=settings.patterns,
        unsafe=settings.unsafe,
        enabled=settings.enabled,
        compared=_compared(config),
    )
    try:
        scanner_of(rules)
    except ValueError as error:
        raise ConfigError(f"redact.{error}", hint="fix or remove it") from error
    return rules


def _compared(config: Config) -> set[str]:
    """The header fields in any route's ``match.header``; cassettes may be shared."""
    matches = [row.match for row in config.reverse]
    if config.gateway is not None:
        matches += [row.match for row in config.gateway.routes]
    if config.forward is not None:
        hosts = [row.match for row in config.forward.hosts if row.match is not None]
        matches += [config.forward.match, *hosts]
    return {name for match in matches for name in match.header}
