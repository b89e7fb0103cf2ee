"""The cases of gRPC's interoperability tests: live through buffr, and replayed without a server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_interop import CASES, InteropService

from buffr.testing import BuffrProcess
from buffr.wire.http2.engines import ENGINES


@contextmanager
def interop_server() -> Iterator[tuple[InteropService, int]]:
    service, server = InteropService(), grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield service, port
    finally:
        server.stop(None)


def passed(port: int) -> list[str]:
    """The names of the cases that pass, each on a channel of its own."""
    options = (("grpc.enable_http_proxy", 0),)
    names = []
    for case in CASES:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            case(channel)
        names.append(case.__name__)
    return names


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", ["record", "auto"])
def test_all_cases_pass_live_and_replayed(tmp_path: Path, engine: str, mode: str) -> None:
    (tmp_path / "buffr.yaml").write_text(f"http2_engine: {engine}\n")
    # Otherwise the custom metadata would not tell its calls from those of another case.
    metadata = ("--match-header", "x-grpc-test-echo-initial")
    options: tuple[Any, ...] = ("--cassette", "c.json", "--port", "0", *metadata)
    names = [case.__name__ for case in CASES]
    with interop_server() as (service, port):
        target = f"http://127.0.0.1:{port}"
        with BuffrProcess.run(mode, "--target", target, *options, cwd=tmp_path) as running:
            assert passed(running.ports[0]) == names
            asked = service.asked
            if mode == "auto":
                assert passed(running.ports[0]) == names
                assert service.asked == asked  # all of it is replayed
        assert asked >= len(names)
    with BuffrProcess.run("replay", *options, cwd=tmp_path) as running:
        assert passed(running.ports[0]) == names
        assert passed(running.ports[0]) == names
