"""h2spec's cases, strict ones too, where the program is installed.

    go install github.com/summerwind/h2spec/cmd/h2spec@latest

They test RFC 7540. Those that an engine does not pass are listed here with the reason; a list that
says too much or too little fails.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from forward_bench import NO_PARENTS

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

_PATIENCE_S = 300

_CLOSED = """\
libnghttp2 forgets a stream that is closed, and drops what comes for it. RFC 9113 5.1 lets it."""
_LOWER = """\
To libnghttp2 a lower number is that of a closed stream, which the higher one has closed."""
_PRIORITY = "libnghttp2 ignores PRIORITY where RFC 7540's priorities are declined (RFC 9218 2.1)."
_WINDOW = "libnghttp2 ends the connection with a GOAWAY, not the stream alone (RFC 9113 6.9.1)."

NOT_PASSED: dict[str, dict[str, str]] = {
    "h2": {},
    "ngh2": {
        "closed: Sends a DATA frame after sending RST_STREAM frame": _CLOSED,
        "closed: Sends a HEADERS frame after sending RST_STREAM frame": _CLOSED,
        "closed: Sends a DATA frame": _CLOSED,
        "closed: Sends a HEADERS frame": _CLOSED,
        "Sends stream identifier that is numerically smaller than previous": _LOWER,
        "Sends PRIORITY frame that depend on itself": _PRIORITY,
        "Sends a PRIORITY frame with 0x0 stream identifier": _PRIORITY,
        "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1"
        " on a stream": _WINDOW,
    },
}


def _respond(_: Received) -> bytes:
    return answer(b"some bytes for the windows")


@pytest.mark.slow
@pytest.mark.parametrize("engine", NOT_PASSED)
def test_all_cases_but_those_that_are_listed(tmp_path: Path, engine: str) -> None:
    program = shutil.which("h2spec")
    if program is None:
        pytest.skip("h2spec is not installed")
    report = tmp_path / "report.xml"
    with FakeUpstream(_respond) as upstream:
        row = {"target": upstream.url, "port": 0, "mode": "passthrough", "tls": True}
        settings = {"http2_engine": engine, "reverse": [row]}
        (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", cwd=tmp_path, env=NO_PARENTS) as buffr:
            command = [program, "--tls", "--insecure", "--strict", "--port", str(buffr.ports[0])]
            command += ["--junit-report", str(report)]
            subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
    cases = ET.parse(report).getroot().iter("testcase")
    results = {_name(case): case.find("error") is not None for case in cases}
    assert len(results) > 100
    assert {name for name, failed in results.items() if failed} == set(NOT_PASSED[engine])


def _name(case: ET.Element) -> str:
    return re.sub(r"\s+", " ", case.get("classname") or case.get("name") or "")
