"""How a request is read where it has fields that hold credentials or data.

``?key=en`` and ``?key=de`` are two requests, ``?key=<one token>`` and
``?key=<another one>`` are one. A recording's value tells which: it is in clear
where it is data. A live one may also be a dummy for a credential, ``?key=test``.
So such a request is read as it is first, and then with the values of those
fields as credentials.
"""

from __future__ import annotations

from attrs import field, frozen

from buffr.redaction.rules import RedactionRules

__all__ = ["Reading", "other_readings"]

_MOST_NAMES = 3


@frozen(eq=False)
class Reading:
    """Takes the fields with these ``names``, as they are spelled, for credentials too.

    ``doubtful`` gathers the names of the others that it was asked about and
    that could be read so.
    """

    rules: RedactionRules
    names: frozenset[bytes] = frozenset()
    doubtful: set[bytes] = field(factory=set, init=False)

    def is_credential_field(self, name: bytes) -> bool:
        """Whether a field of a query or form may hold a credential."""
        return self.rules.is_credential_field(name)

    def holds_credential(self, name: bytes, value: bytes) -> bool:
        """Whether it does, as it is read here."""
        if self.rules.holds_credential(name, value):
            return True
        if not self.rules.is_credential_field(name):
            return False
        if name in self.names:
            return True
        self.doubtful.add(name)
        return False


def other_readings(doubtful: frozenset[bytes]) -> tuple[frozenset[bytes], ...]:
    """The names that are those of credentials in each other reading, from few to all."""
    if not doubtful:
        return ()
    if not 1 < len(doubtful) <= _MOST_NAMES:
        return (doubtful,)
    return (*[frozenset((name,)) for name in sorted(doubtful)], doubtful)
