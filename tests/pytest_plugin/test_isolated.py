"""``--buffr-isolate``: a session in which nothing goes past buffr."""

from __future__ import annotations

from pathlib import Path

from forward_bench import NO_PARENTS, secure_origin, trust_file
from forward_parents import running_parent
from namespaces import needs_namespaces
from pytest_suite import Run, numbered

from buffr.testing import Received, Script, answer

pytestmark = needs_namespaces

SUITE = """
import os, socket, subprocess, urllib.request
import pytest

def test_through_the_cassette(buffr):
    with urllib.request.urlopen(os.environ["ORIGIN"] + "/a") as answer:
        print("said", answer.read())

def test_past_it():
    done = subprocess.run(
        ["curl", "--silent", "--write-out", "%{http_code}", os.environ["ORIGIN"] + "/b"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True,
    )
    print("past", done.stdout[-3:])

def test_a_database():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("192.0.2.1", 5432), 60)
"""


def _counted(seen: list[bytes]) -> Script:
    def script(received: Received) -> bytes:
        seen.append(received.target)
        return answer(b"%d %b" % (len(seen), received.target))

    return script


class TestSession:
    def test_recorded_and_replayed(self, tmp_path: Path) -> None:
        (tmp_path / "test_suite.py").write_text(SUITE)
        seen: list[bytes] = []
        trusted = str(trust_file(tmp_path))
        with (
            numbered() as unused,
            secure_origin(_counted(seen), "a.example.test") as origin,
            running_parent() as parent,
        ):
            run = Run(tmp_path, unused)
            environ = {
                **NO_PARENTS,
                "HTTPS_PROXY": f"http://{parent.url}",
                "SSL_CERT_FILE": trusted,
                "ORIGIN": f"https://a.example.test:{origin.port}",
            }
            recorded = run("--buffr-isolate", code=0, **environ)
            asked = list(seen)
        assert asked == [b"/a", b"/b"]
        assert "3 passed" in recorded
        assert "past 200" in recorded
        assert "program=python" in recorded
        assert "port=5432" in recorded
        assert "unknown variable" not in recorded
        environ["HTTPS_PROXY"] = ""
        replayed = run("--buffr-isolate", "--buffr-mode=replay", code=0, **environ)
        assert "3 passed" in replayed
        assert "said b'1 /a'" in recorded
        assert "said b'1 /a'" in replayed
        assert "past 599" in replayed
