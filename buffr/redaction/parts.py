"""Credential fields of multipart forms (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator

from buffr.formats.multipart import field_end, field_heads
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.spans import SecretSpan

__all__ = ["find_in_parts"]


def find_in_parts(text: bytes, rules: RedactionRules) -> Iterator[SecretSpan]:
    """The values of the parts whose names are those of credentials; of files only the content."""
    end = data_end = 0
    for head in field_heads(text):
        start, called = head.start, head.disposition.name
        # Inside the last value, which is replaced as a whole: otherwise thousands of parts would
        # each be searched to the end.
        if start < end or head.disposition.file_name is not None:
            continue
        sure = rules.is_credential_member(called) or rules.holds_credential(called, b"")
        # Whatever is nested in a value that is data is not a credential either.
        if not sure and (start < data_end or not rules.is_credential_field(called)):
            continue
        stop = field_end(text, start)
        value = text[start:stop]
        if not (sure or rules.holds_credential(called, value)):
            data_end = stop
            continue
        end = stop
        if value.strip() and not is_pseudonym(value):
            doubtful = rules.may_mean_data(called)
            yield SecretSpan(start, end, called, value, "form", doubtful=doubtful)
