"""A request as it went to its upstream before, so that an equal one is sent at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define

from buffr.upstream.bound import Client
from buffr.upstream.connection import Asker, Connection
from buffr.upstream.hops import Mark
from buffr.upstream.pool import Pool

__all__ = ["KnownCall"]


class _Upstream(Protocol):
    """The upstream, as far as it may change for such a request."""

    on_answer: Callable[[int | None, float], None] | None


@define(eq=False)
class KnownCall:
    """What a request without hops is on the wire, with its body.

    ``marked`` makes it for connections on which requests name the buffrs that they have passed.
    If others differ in the values of some fields, these have ``%b`` there.
    """

    _upstream: _Upstream
    _pool: Pool
    _method: bytes
    _data: bytes
    _marked: Callable[[], bytes]
    _with_mark: bytes = b""

    @property
    def size_bytes(self) -> int:
        """How many bytes are remembered."""
        return 2 * len(self._data)

    def again(self, client: Client, asker: Asker, values: tuple[bytes, ...]) -> Connection | None:
        """Send it on a pooled connection, which ``asker`` gets its answer from.

        ``None`` if it has to go in the usual way: nothing was sent then. ``client`` is the
        connection that it came on.
        """
        pool = self._pool
        if self._upstream.on_answer is not None or (client.bonds and client in pool.bonds):
            return None
        connection = pool.take()
        if connection is None:
            return None
        data = self._data
        if connection.mark is Mark.ADD:
            data = self._with_mark = self._with_mark or self._marked()
        if values:
            data %= values
        connection.ask_again(data, self._method, asker)
        return connection
