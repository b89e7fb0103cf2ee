"""Exchanges leave nothing behind that only the garbage collector would release."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from service_bench import service

from buffr.exchanges.call import UpstreamCall
from buffr.exchanges.exchange import Exchange

_COUNT = 20


@pytest.mark.parametrize("mode", ["auto", "passthrough"])
def test_an_exchange_is_released_once_it_is_over(mode: str, tmp_path: Path) -> None:
    with service(tmp_path, {"forward": {"port": 0, "mode": mode}}) as bench:
        gc.disable()
        try:
            for number in range(_COUNT):
                assert bench.ask("10.9.0.1", f"/{number}").endswith(b"ok")
            bench.idle(1)
            held = sum(isinstance(each, Exchange | UpstreamCall) for each in gc.get_objects())
        finally:
            gc.enable()
        assert held < _COUNT
