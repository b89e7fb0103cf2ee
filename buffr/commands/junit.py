"""Reports in JUnit's XML, as CI servers read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

__all__ = ["case", "document", "mark", "note", "suite"]

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTED = (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))


def document(suites: Iterable[Element]) -> bytes:
    """The whole report."""
    root = Element("testsuites")
    root.extend(suites)
    indent(root)
    return tostring(root, "unicode", xml_declaration=True).encode() + b"\n"


def suite(name: str, cases: Sequence[Element], dur_s: float) -> Element:
    """A suite of cases, with their counts."""
    made = Element("testsuite", name=_in_xml(name), time=f"{dur_s:.3f}", tests=str(len(cases)))
    for attribute, tag in _COUNTED:
        made.set(attribute, str(sum(one.find(tag) is not None for one in cases)))
    made.extend(cases)
    return made


def case(group: str, name: str, dur_s: float) -> Element:
    """A case that passes, as long as nothing is said of it."""
    return Element("testcase", classname=_in_xml(group), name=_in_xml(name), time=f"{dur_s:.3f}")


def mark(one: Element, tag: str, why: str) -> None:
    """Say that a case has a ``failure``, an ``error``, or was ``skipped``, and why."""
    lines = _in_xml(why).splitlines() or [""]
    SubElement(one, tag, message=lines[0]).text = "\n".join(lines)


def note(one: Element, text: str) -> None:
    """Say something about a case that passes."""
    SubElement(one, "system-out").text = _in_xml(text)


def _in_xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot represent."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
