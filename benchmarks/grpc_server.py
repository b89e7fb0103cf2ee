"""grpcio's own server, which gives every unary call the same answer.

python -m benchmarks.grpc_server PORT ANSWER
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class _Same(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no annotations
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def service(self, details: Any) -> Any:  # noqa: ARG002  # every method
        return grpc.unary_unary_rpc_method_handler(lambda _, __: self._answer)


if __name__ == "__main__":
    port, answer = sys.argv[1:]
    server = grpc.server(ThreadPoolExecutor(10))
    server.add_generic_rpc_handlers((_Same(answer.encode()),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()
