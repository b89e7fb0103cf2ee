"""What a check found: as lines for people, as JSON, and as JUnit's XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import msgspec

from buffr.commands import junit
from buffr.commands.terminal import Paint, plain
from buffr.drift.finding import Finding, Severity
from buffr.drift.verdict import Asked, Verdict, exit_status

__all__ = ["as_json", "as_junit", "lines_of", "summary"]

_VERSION = 1
_COLOURS = {"same": "32", "value": "33", "addition": "36", "breaking": "31"}
_MOST_SHOWN = 20
_WORD_WIDTH = len("not asked")
_SUITE = "buffr cassette check"


def lines_of(verdict: Verdict, width: int, paint: Paint) -> Iterator[str]:
    """A line for an interaction, then a tree of what changed. ``width`` is that of numbers."""
    word = verdict.word
    colour = _COLOURS.get(word, "2" if verdict.asked is Asked.SKIPPED else "31")
    number = str(verdict.number).rjust(width)
    line = f"{number}  {paint(colour, word.ljust(_WORD_WIDTH))}  {plain(verdict.request)}"
    if verdict.why:
        line += f"  {paint('2', plain(verdict.why))}"
    yield line
    yield from _tree(verdict.findings, " " * (width + 2), paint)
    if verdict.note:
        yield f"{' ' * (width + 2)}{paint('2', plain(verdict.note))}"


def _tree(findings: Sequence[Finding], indent: str, paint: Paint) -> Iterator[str]:
    """The findings by part, and in each part by place."""
    parts: dict[str, list[Finding]] = {}
    for finding in findings[:_MOST_SHOWN]:
        parts.setdefault(finding.part, []).append(finding)
    for number, (part, found) in enumerate(parts.items(), 1):
        last = number == len(parts) and len(findings) <= _MOST_SHOWN
        corner, below = ("`-", "  ") if last else ("|-", "| ")
        if len(found) == 1 and not found[0].place:
            yield f"{indent}{corner} {plain(part)} {_what(found[0], paint)}"
            continue
        yield f"{indent}{corner} {plain(part)}"
        for at, finding in enumerate(found, 1):
            twig = "`-" if at == len(found) else "|-"
            path = plain(finding.path or "$")
            yield f"{indent}{below} {twig} {path} {_what(finding, paint)}"
    if len(findings) > _MOST_SHOWN:
        yield f"{indent}`- ... and {len(findings) - _MOST_SHOWN} more"


def _what(finding: Finding, paint: Paint) -> str:
    values = [value for value in (finding.recorded, finding.live) if value is not None]
    text = finding.what + (f": {' -> '.join(values)}" if values else "")
    return paint(_COLOURS[finding.severity.word], plain(text))


def summary(verdicts: Sequence[Verdict], paint: Paint) -> str:
    """A line of counts, then what to do about those that were left out."""
    words = Counter(verdict.word for verdict in verdicts)
    order = ("same", "value", "addition", "breaking", "skipped", "not asked")
    names = {"value": "with other values", "addition": "with additions"}
    counts = [
        paint(_COLOURS.get(word, ""), f"{words[word]} {names.get(word, word)}")
        if word in _COLOURS
        else f"{words[word]} {word}"
        for word in order
        if words[word]
    ]
    hints = dict.fromkeys(verdict.hint for verdict in verdicts if verdict.hint)
    return "\n".join([", ".join(counts) or "no interactions", *map(plain, hints)])


def as_json(files: Mapping[str, Sequence[Verdict]]) -> bytes:
    """The whole result as a JSON object."""
    all_of_them = [verdict for verdicts in files.values() for verdict in verdicts]
    report = {
        "version": _VERSION,
        "exit_status": exit_status(all_of_them),
        "files": [
            {"file": file, "interactions": [_object(one) for one in verdicts]}
            for file, verdicts in files.items()
        ],
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def _object(verdict: Verdict) -> dict[str, Any]:
    said: dict[str, Any] = {
        "number": verdict.number,
        "request": verdict.request,
        "result": verdict.word,
        "findings": [_finding(one) for one in verdict.findings],
        "noise": verdict.noise,
        "duration_ms": round(verdict.dur_s * 1000),
        "edited": verdict.edited,
    }
    for name in ("why", "hint", "note"):
        if text := getattr(verdict, name):
            said[name] = text
    return said


def _finding(finding: Finding) -> dict[str, Any]:
    said = {
        "severity": finding.severity.word,
        "part": finding.part,
        "path": finding.path or None,
        "what": finding.what,
        "recorded": finding.recorded,
        "live": finding.live,
    }
    return {name: value for name, value in said.items() if value is not None}


def as_junit(files: Mapping[str, Sequence[Verdict]]) -> bytes:
    """A suite for each file, with a case for each interaction.

    Breaking changes are failures, and what could not be asked is an error.
    Additions and values are told of in the output of a case that passes.
    """
    return junit.document(
        junit.suite(file, [_case(file, one) for one in verdicts], sum(v.dur_s for v in verdicts))
        for file, verdicts in files.items()
    )


def _case(file: str, verdict: Verdict) -> Element:
    made = junit.case(f"{_SUITE}: {file}", f"{verdict.number} {verdict.request}", verdict.dur_s)
    text = "\n".join(f"{one.severity.word}: {one}" for one in verdict.findings)
    if verdict.asked is Asked.FAILED:
        junit.mark(made, "error", verdict.why)
    elif verdict.asked is Asked.SKIPPED:
        junit.mark(made, "skipped", verdict.why)
    elif verdict.severity is Severity.BREAKING:
        junit.mark(made, "failure", text)
    elif text:
        junit.note(made, text)
    return made
