"""How a request is read if it has fields that may contain credentials or data.

``?key=en`` and ``?key=de`` are two requests; ``?key=`` with one token or with
another is the same request. A recording's value shows which it is: data is
stored in clear. A live value may also be a dummy for a credential,
``?key=test``. So such a request is read literally first, and then with the
values of those fields as credentials.
"""

from __future__ import annotations

from attrs import field, frozen

from buffr.redaction.rules import RedactionRules

__all__ = ["Reading", "other_readings"]

_MOST_NAMES = 3


@frozen(eq=False)
class Reading:
    """Treats the fields with these ``names``, as spelled, as credentials too.

    ``doubtful`` collects the names of other fields that it was asked about and
    that may be credentials.
    """

    rules: RedactionRules
    names: frozenset[bytes] = frozenset()
    doubtful: set[bytes] = field(factory=set, init=False)

    def is_credential_field(self, name: bytes) -> bool:
        """Whether a field of a query or form may hold a credential."""
        return self.rules.is_credential_field(name)

    def holds_credential(self, name: bytes, value: bytes) -> bool:
        """Whether a field contains a credential in this reading."""
        if self.rules.holds_credential(name, value):
            return True
        if not self.rules.is_credential_field(name):
            return False
        if name in self.names:
            return True
        self.doubtful.add(name)
        return False


def other_readings(doubtful: frozenset[bytes]) -> tuple[frozenset[bytes], ...]:
    """For each other reading the names that it treats as credentials, from few to all."""
    if not doubtful:
        return ()
    if not 1 < len(doubtful) <= _MOST_NAMES:
        return (doubtful,)
    return (*[frozenset((name,)) for name in sorted(doubtful)], doubtful)
