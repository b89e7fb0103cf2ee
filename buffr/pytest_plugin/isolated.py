"""``--buffr-isolate``: the whole session inside ``buffr run --isolate``."""

from __future__ import annotations

import os
import sys

import pytest

from buffr.pytest_plugin.suite import Suite

__all__ = ["begin_inside"]

_INSIDE = "_BUFFR_ISOLATED"
"""Set for the session inside, so that it does not begin again; ``BUFFR_...`` would be a setting."""


def begin_inside(config: pytest.Config) -> None:
    """Replace this process with one that runs the same session inside; there, do nothing.

    What tests ask through their cassettes goes to the proxy of the session,
    inside. Whatever goes past it ends at the one outside: in mode replay it is
    refused there, and in every other mode it is relayed and not recorded.
    """
    if os.environ.get(_INSIDE):
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:  # standard output and error are pytest's own files by now
        capture.stop_global_capturing()
    mode = "replay" if Suite(config).mode(None) == "replay" else "passthrough"
    pytest_again = (sys.executable, "-m", "pytest", *map(str, config.invocation_params.args))
    buffr = (sys.executable, "-m", "buffr", "run", "--isolate", f"--{mode}", "--")
    os.execve(sys.executable, (*buffr, *pytest_again), {**os.environ, _INSIDE: "1"})  # noqa: S606
