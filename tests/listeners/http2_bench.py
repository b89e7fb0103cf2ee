"""A client's connection in HTTP/2, with a client of an engine's, in memory."""

from __future__ import annotations

from attrs import evolve
from client_bench import LIMITS, Bench
from http2_pair import BOUNDS, GET, Heard

from buffr.listeners.client import ConnectionLimits, Http2Terms
from buffr.message import Headers
from buffr.wire.http2.engines import EngineName, open_engine
from buffr.wire.http2.floods import Patience
from buffr.wire.http2.interface import Bounds, Role

__all__ = ["PATIENCE", "Http2Bench", "asking"]

PATIENCE = Patience(resets=20, frames=30)
ROOMY = Bounds(connection_bytes=1 << 20)
"""The client's: it takes a lot before it holds anything back."""


def asking(path: bytes = b"/", method: bytes = b"GET", *more: tuple[bytes, bytes]) -> Headers:
    """A request's fields."""
    return ((b":method", method), *GET[1:3], (b":path", path), *more)


class Http2Bench(Bench):
    """A bench whose client begins with HTTP/2; ``engine`` is the server's."""

    def __init__(
        self,
        engine: EngineName = "ngh2",
        *,
        prompt: bool = False,
        limits: ConnectionLimits = LIMITS,
        bounds: Bounds = BOUNDS,
        client_bounds: Bounds = ROOMY,
    ) -> None:
        terms = Http2Terms(engine=engine, bounds=bounds, patience=PATIENCE)
        super().__init__(evolve(limits, http2=terms), prompt=prompt)
        self.heard = Heard()
        self.client = open_engine(Role.CLIENT, self.heard, client_bounds, "ngh2")
        self.heard.engine = self.client
        self.talk()

    def talk(self) -> None:
        """Carry bytes both ways, and let the reactor's turns go by, until nothing more comes."""
        while True:
            data = self.client.take(16_000)
            if data and self.wire.connected:
                self.connection.dataReceived(data)
            soon, self.soon_called = self.soon_called, []
            for call in soon:
                call()
            came = self.received()
            if came:
                self.client.receive(came)
            self.wire.turn()
            if not (data or soon or came):
                return

    def ask(self, fields: Headers | None = None, *, ended: bool = True) -> int:
        stream = self.client.request(fields or asking(), ended=ended)
        self.talk()
        return stream

    def say(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        self.client.send(stream, data, ended=ended)
        self.talk()

    def body(self, stream: int) -> bytes:
        """What came of an answer's body."""
        self.talk()
        return self.heard.bodies.get(stream, b"")

    def status(self, stream: int) -> int:
        """The status of an answer; 0 if none came."""
        self.talk()
        return int(dict(self.heard.heads.get(stream, ())).get(b":status", b"0"))

    def resets(self) -> dict[int, int]:
        """The streams that were reset, and the codes."""
        self.talk()
        found = {}
        for one in self.heard.said:
            match one:
                case ("reset", int() as stream, int() as code):
                    found[stream] = int(code)
        return found

    def goodbye(self) -> int | None:
        """The code of the connection's end, if it came."""
        self.talk()
        for one in self.heard.said:
            match one:
                case ("going away", _, int() as code):
                    return int(code)
        return None

    def later(self, seconds: float) -> Http2Bench:
        for _ in range(int(seconds)):
            self.now += 1
            for one in list(self.known):
                one.check(self.now)
            self.wire.turn()
        return self
