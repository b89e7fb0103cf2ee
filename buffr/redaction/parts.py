"""Credential fields of multipart forms (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator

from buffr.redaction.found import Found
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.shapes import compiled

__all__ = ["find_in_parts"]


# The value goes on to the next line that begins like a boundary, or to the end of what there is.
_PART = compiled(
    r"(?i)content-disposition:[ \t]*form-data;([^\r\n]{0,300})\r?\n(?:[^\r\n]+\r?\n)*\r?\n"
)
_NAME = compiled(r"""(?i)(?:^|[;\s])name="?([^";\r\n]{1,100})""")
_FILE = compiled(r"(?i)(?:^|[;\s])filename\*?=")


def find_in_parts(text: bytes, rules: RedactionRules) -> Iterator[Found]:
    """The values of the parts whose names are those of credentials; of files only the content."""
    end = data_end = 0
    for part in _PART.finditer(text):
        start = part.end()
        if start < end:
            # Inside the last value, which goes whole: each of thousands would go to the end again.
            continue
        name = _NAME.search(part[1])
        if name is None or _FILE.search(part[1]) is not None:
            continue
        called = name[1]
        sure = rules.is_credential_member(called) or rules.holds_credential(called, b"")
        # What stands inside a value that is data is none either.
        if not sure and (start < data_end or not rules.is_credential_field(called)):
            continue
        stop = text.find(b"\n--", start)
        stop = len(text) if stop < 0 else stop - (text[stop - 1 : stop] == b"\r")
        value = text[start:stop]
        if not (sure or rules.holds_credential(called, value)):
            data_end = stop
            continue
        end = stop
        if value.strip() and not is_pseudonym(value):
            doubtful = rules.may_mean_data(called)
            yield Found(start, end, called, value, "form", doubtful=doubtful)
