"""What of a target logs and miss answers show."""

from __future__ import annotations

import pytest

from buffr.redaction.for_log import target_for_log
from buffr.redaction.rules import RedactionRules


class TestTargetForLog:
    @pytest.mark.parametrize(
        ("target", "shown"),
        [
            (b"/p?a=1&key=secret&b", b"/p?a=1&key=REDACTED&b"),
            (b"/p?key=", b"/p?key="),
            (b"http://user:secret@h:1/p?%6bey=secret", b"http://h:1/p?%6bey=REDACTED"),
            (b"user:secret@h:443", b"h:443"),
            (b"*", b"*"),
            (b"/@scope/pkg@1.0", b"/@scope/pkg@1.0"),
        ],
    )
    def test_shown(self, target: bytes, shown: bytes) -> None:
        """Values of credential fields and userinfo are removed; the rest is unchanged."""
        assert target_for_log(target, RedactionRules()) == shown

    def test_also_when_redaction_is_off(self) -> None:
        """Not redacting a cassette is no reason to fill a log with keys."""
        rules = RedactionRules(enabled=False)
        assert target_for_log(b"/?key=secret", rules) == b"/?key=REDACTED"
