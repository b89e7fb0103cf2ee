"""Whether this machine lets a test have namespaces, and commands that run in some."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from buffr.isolate.namespace import Namespace
from buffr.isolate.plan import Plan
from buffr.isolate.switches import NoNamespace

__all__ = ["needs_namespaces", "output_inside", "refusal"]


@cache
def refusal() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    try:
        output_inside("true")
    except NoNamespace as error:
        return str(error)
    return ""


def output_inside(*command: str) -> str:
    """What a command inside writes to standard output. Nobody serves its network."""
    with TemporaryDirectory() as directory:
        said = Path(directory, "said")
        environ = {**os.environ, "SAID": str(said)}
        redirected = ("sh", "-c", 'exec "$@" > "$SAID"', "sh", *command)
        namespace = Namespace.begin(Plan.of(redirected, environ))
        try:
            namespace.start()
            namespace.wait()
        finally:
            namespace.close()
        return said.read_text()


needs_namespaces = pytest.mark.skipif(bool(refusal()), reason=refusal())
