"""Asks upstreams of gRPC, by server reflection, what declares the services that are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.errors import BuffrError
from buffr.exchanges.pace import PacedUpstream
from buffr.formats.grpc import is_grpc_type
from buffr.formats.protobuf.bodies import BadDescriptors, Declarations, MessageTypes, method_named
from buffr.formats.protobuf.reflection import VERSIONS, Declared, declared_in, question
from buffr.log import say
from buffr.message import Headers, Request, ResponseHead, media_type
from buffr.transport.streams import Signal

__all__ = ["Reflection"]

_LARGEST_BYTES = 16 << 20
_MOST_ROUNDS = 16
_MOST_SERVICES = 1000
_UNIMPLEMENTED = b"12"
_METHOD = b"ServerReflectionInfo"
_OF_THE_CALL = frozenset((b"content-type", b"content-length", b"content-encoding", b"te"))


class _NotAnswered(Exception):
    """The upstream does not say; the message says why."""


class _NoReflection(_NotAnswered):
    """The upstream does not have this version of it."""


@define(eq=False)
class Reflection:
    """Makes services known in ``types``: each is asked for once, with the metadata of its call.

    ``read`` makes declarations of files, each a serialised
    ``FileDescriptorProto``; it raises ``BadDescriptors``. An upstream may take
    ``limit_s`` for all of its answers.
    """

    reactor: Any
    types: MessageTypes
    read: Callable[[Iterable[bytes]], Declarations]
    limit_s: float
    _asked: dict[str, Signal | None] = field(factory=dict, init=False)
    """A signal while it is asked for."""

    async def know(self, request: Request, upstream: PacedUpstream) -> None:
        """Ask what declares the messages of a call of gRPC, if that is not known. Never fails."""
        named = method_named(request.target)
        if named is None or not is_grpc_type(media_type(request.headers)):
            return
        service = named[0]
        if service not in self._asked:
            if self.types.method(request.target) is not None or service.encode() in VERSIONS:
                return
            if len(self._asked) >= _MOST_SERVICES:
                return
            self._begin(service, request, upstream)
        asking = self._asked[service]
        if asking is not None:
            await asking.wait()

    def _begin(self, service: str, request: Request, upstream: PacedUpstream) -> None:
        asking = self._asked[service] = Signal()
        running = Deferred.fromCoroutine(self._ask(service, request, upstream))
        running.addTimeout(self.limit_s, self.reactor)

        def failed(failure: Failure) -> None:
            error = failure.value
            why = str(error) if isinstance(error, _NotAnswered | BuffrError) else repr(error)
            if failure.check(TimedOut):
                why = f"the upstream has not answered in {self.limit_s:g} s"
            say(LogLevel.info, "messages are not known by reflection", service=service, err=why)

        def over(_: object) -> None:
            self._asked[service] = None
            asking.notify()

        running.addErrback(failed).addBoth(over)

    async def _ask(self, service: str, request: Request, upstream: PacedUpstream) -> None:
        for version in VERSIONS:
            try:
                files = await self._files(version, service, request, upstream)
            except _NoReflection:
                if version == VERSIONS[-1]:
                    raise
                continue
            try:
                self.types.add(self.read(one.data for one in files))
            except BadDescriptors as error:
                raise _NotAnswered(f"what the upstream says {error}") from error
            say(LogLevel.info, "messages are known by reflection", service=service)
            return

    async def _files(
        self, version: bytes, service: str, request: Request, upstream: PacedUpstream
    ) -> Iterable[Declared]:
        """The file of a service, and those that it needs."""
        target = _target(request.target, version)
        known: dict[str, Declared] = {}
        body, left = question((service,)), _LARGEST_BYTES
        for _ in range(_MOST_ROUNDS):
            answer = await _answer(_call(request, target, body), body, upstream, left)
            left -= len(answer)
            try:
                found, wrong = declared_in(answer, left)
            except ValueError as error:
                raise _NotAnswered(f"the upstream's answer cannot be read: {error}") from error
            if wrong and not known:
                raise _NotAnswered(f"the upstream says: {wrong}")
            known.update((one.name, one) for one in found)
            needed = {name for one in known.values() for name in one.imports} - known.keys()
            if not needed or not found:  # the well-known types need not be there
                break
            body = question((), sorted(needed))
        return known.values()


def _target(target: bytes, version: bytes) -> bytes:
    """The target of reflection beside that of a call."""
    prefix = target.rsplit(b"/", 2)[0]
    return b"%b/%b/%b" % (prefix, version, _METHOD)


def _call(request: Request, target: bytes, body: bytes) -> Request:
    kept = [
        (name, value)
        for name, value in request.headers
        if name.lower() not in _OF_THE_CALL and not name.lower().startswith(b"grpc-")
    ]
    headers = (*kept, (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    return evolve(request, target=target, headers=headers, body_length=len(body))


async def _answer(request: Request, body: bytes, upstream: PacedUpstream, most_bytes: int) -> bytes:
    response = await upstream.send(request, body, _uninterested)
    whole, data = False, bytearray()
    try:
        _check(response.head.headers, response.head)
        while (piece := await response.body.read()) is not None:
            data += piece.data
            if len(data) > most_bytes:
                raise _NotAnswered("the upstream says too much")
        whole = True
    finally:
        if not whole:
            response.abort()
    _check(response.body.trailers, response.head)
    return bytes(data)


def _check(headers: Headers, head: ResponseHead) -> None:
    """Raises ``_NotAnswered`` for a status that is no success."""
    named = {name.lower(): value for name, value in headers}
    status = named.get(b"grpc-status", b"0")
    if status == _UNIMPLEMENTED or head.status != 200:
        raise _NoReflection("the upstream has no server reflection")
    if status != b"0":
        said = named.get(b"grpc-message", b"").decode("latin-1")
        raise _NotAnswered(f"the upstream answers with status {status.decode('latin-1')} {said}")


def _uninterested(_: ResponseHead) -> None:
    """Nothing comes before the answer that matters here."""
