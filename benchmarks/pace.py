"""So many requests a second on a few connections, whatever the answers take."""

from __future__ import annotations

import selectors
import socket
import time
from collections import deque
from contextlib import ExitStack
from statistics import quantiles

from attrs import define

from benchmarks.load import Load
from benchmarks.message import Answer, Request
from benchmarks.process import Failed, Process

__all__ = ["put_paced_load"]

_CONNECTIONS = 32
_PATIENCE_S = 30.0


@define(eq=False)
class _Connection:
    """One that is asked for something since ``due``, with so many bytes still to come."""

    socket: socket.socket
    due: float = 0.0
    missing: int = 0


def put_paced_load(
    server: Process, request: Request, expected: Answer, *, a_second: int, seconds: float
) -> Load:
    """Ask for so many answers a second, which are all as long as the expected one.

    A request that found no free connection is made up for as soon as there is
    one, and counts as late from when it was due.
    """
    used_s = server.processor_s()
    late: list[float] = []
    asked, most = 0, int(a_second * seconds)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        free: deque[_Connection] = deque()
        for _ in range(_CONNECTIONS):
            made = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            free.append(_Connection(made))
            selector.register(made, selectors.EVENT_READ, free[-1])
        began = time.perf_counter()
        while len(late) < most:
            due = began + asked / a_second
            while free and asked < most and due <= time.perf_counter():
                one = free.popleft()
                one.due, one.missing = due, expected.size_bytes
                one.socket.sendall(request.numbered(asked % request.numbers).encoded(server.port))
                asked += 1
                due = began + asked / a_second
            wait = max(0.0, due - time.perf_counter()) if free and asked < most else _PATIENCE_S
            come = selector.select(wait)
            if not come and wait == _PATIENCE_S:
                raise Failed(f"{server.name} does not answer")
            for key, _ in come:
                one = key.data
                if _is_answered(server, one, expected):
                    late.append(time.perf_counter() - one.due)
                    free.append(one)
        took_s = time.perf_counter() - began
    server.answered += most
    late_ms = quantiles(late, n=100)[-1] * 1e3
    return Load(most, took_s, server.processor_s() - used_s, late_ms)


def _is_answered(server: Process, one: _Connection, expected: Answer) -> bool:
    """Read what has come; whether that was the end of an answer."""
    data = one.socket.recv(65536)
    begins = one.missing == expected.size_bytes
    one.missing -= len(data)
    if not data or one.missing < 0 or (begins and not expected.head.startswith(data[:15])):
        raise Failed(f"{server.name} gave another answer than expected: {data[:200]!r}")
    return one.missing == 0
