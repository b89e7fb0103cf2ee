"""Two engines that speak HTTP/2 with each other in memory, and what is said."""

from __future__ import annotations

from attrs import define, field

from buffr.message import Headers
from buffr.wire.http2.engines import EngineName, open_engine
from buffr.wire.http2.interface import Bounds, Engine, Nuisance, Role

__all__ = ["BOUNDS", "GET", "OK", "POST", "Heard", "Pair"]

GET: Headers = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"api.test"),
    (b":path", b"/x?y=1"),
)
POST: Headers = ((b":method", b"POST"), *GET[1:])
OK: Headers = ((b":status", b"200"), (b"x-one", b"1"))
BOUNDS = Bounds(streams=10, stream_bytes=70_000, connection_bytes=200_000)


@define
class Heard:
    """A user that writes down what it hears. It takes bodies at once unless ``held``."""

    engine: Engine = field(init=False)
    held: bool = False
    said: list[object] = field(factory=list)
    heads: dict[int, Headers] = field(factory=dict)
    """The last head of each stream."""
    bodies: dict[int, bytes] = field(factory=dict)
    over: set[int] = field(factory=set)
    """The streams on which nothing more will come."""
    nuisances: list[Nuisance] = field(factory=list)

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        self.said.append(("head", stream, fields, ended))
        self.heads[stream] = fields
        self._note(stream, ended=ended)

    def interim(self, stream: int, fields: Headers) -> None:
        self.said.append(("interim", stream, fields))

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.bodies[stream] = self.bodies.get(stream, b"") + data
        if not self.held:
            self.engine.consumed(stream, len(data))
        if ended:
            self.said.append(("end", stream))
        self._note(stream, ended=ended)

    def trailers(self, stream: int, fields: Headers) -> None:
        self.said.append(("trailers", stream, fields))
        self._note(stream, ended=True)

    def reset(self, stream: int, code: int) -> None:
        self.said.append(("reset", stream, code))
        self._note(stream, ended=True)

    def going_away(self, last: int, code: int) -> None:
        self.said.append(("going away", last, code))

    def nuisance(self, kind: Nuisance) -> None:
        self.nuisances.append(kind)

    def _note(self, stream: int, *, ended: bool) -> None:
        if ended:
            self.over.add(stream)

    def taken(self) -> list[object]:
        said, self.said = self.said, []
        return said


class Pair:
    """A client and a server with nothing between them but bytes."""

    def __init__(self, client: EngineName, server: EngineName, bounds: Bounds = BOUNDS) -> None:
        self.at_client, self.at_server = Heard(), Heard()
        self.client = open_engine(Role.CLIENT, self.at_client, bounds, client)
        self.server = open_engine(Role.SERVER, self.at_server, bounds, server)
        self.at_client.engine, self.at_server.engine = self.client, self.server
        self.talk()
        for heard in (self.at_client, self.at_server):
            heard.nuisances.clear()

    def talk(self, step: int = 16_000) -> None:
        """Carry bytes until nobody has any."""
        moved = True
        while moved:
            moved = False
            for one, other in ((self.client, self.server), (self.server, self.client)):
                while data := one.take(step):
                    other.receive(data)
                    moved = True

    def ask(self, fields: Headers = GET, *, ended: bool = True) -> int:
        stream = self.client.request(fields, ended=ended)
        self.talk()
        return stream
