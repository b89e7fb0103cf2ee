"""What is redacted, by the settings."""

from __future__ import annotations

from buffr.config import Redaction
from buffr.errors import ConfigError
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of

__all__ = ["redaction_rules"]


def redaction_rules(settings: Redaction) -> RedactionRules:
    """The rules of a ``redact`` section. Raises ``ConfigError``.

    A rule that is not understood is an error, and no warning: without it
    secrets would be written.
    """
    rules = RedactionRules.with_extra(
        headers=settings.headers,
        fields=settings.query,
        json=settings.json,
        patterns=settings.patterns,
        unsafe=settings.unsafe,
        enabled=settings.enabled,
    )
    try:
        scanner_of(rules)
    except ValueError as error:
        raise ConfigError(f"redact.{error}", hint="mend it, or take it out") from error
    return rules
