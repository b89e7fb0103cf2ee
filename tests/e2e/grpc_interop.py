"""gRPC's interoperability test service, and the client's cases by their names.

What they do is described in
https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md, the
messages in ``grpc/testing/messages.proto``. The few fields that are needed are
written here by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import grpc
from attrs import define

__all__ = ["CASES", "InteropService", "fields", "message"]

_LIMIT_S = 60
_SERVICE = "/grpc.testing.TestService/"
_UNIMPLEMENTED_SERVICE = "/grpc.testing.UnimplementedService/"
_INITIAL, _TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
_VARINT, _LENGTH = 0, 2

Value = int | bytes


def message(*found: tuple[int, Value]) -> bytes:
    """A message of protobuf from numbers and values of its fields."""
    parts = []
    for number, value in found:
        if isinstance(value, int):
            parts += [_varint(number << 3 | _VARINT), _varint(value)]
        else:
            parts += [_varint(number << 3 | _LENGTH), _varint(len(value)), value]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))


def fields(data: bytes) -> dict[int, list[Value]]:
    """The values of a message's fields by number."""
    found: dict[int, list[Value]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag, value = number(), number()
        if tag & 7 == _LENGTH:
            found.setdefault(tag >> 3, []).append(data[at : at + value])
            at += value
        else:
            found.setdefault(tag >> 3, []).append(value)
    return found


def _payload(size: int) -> bytes:
    return message((2, bytes(size)))


def _size(data: bytes) -> int:
    """The size of the payload in a message whose first field it is."""
    (payload,) = fields(data)[1]
    assert isinstance(payload, bytes)
    (body,) = fields(payload)[2]
    assert isinstance(body, bytes)
    return len(body)


class InteropService(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no annotations
    """grpc.testing.TestService, as far as the cases need it. ``asked`` counts the calls."""

    def __init__(self) -> None:
        self.asked = 0

    def service(self, details: Any) -> Any:
        self.asked += 1
        if not details.method.startswith(_SERVICE):
            return None
        make, method = {
            "EmptyCall": (grpc.unary_unary_rpc_method_handler, lambda sent, _: sent),
            "UnaryCall": (grpc.unary_unary_rpc_method_handler, self._unary),
            "StreamingInputCall": (grpc.stream_unary_rpc_method_handler, self._input),
            "StreamingOutputCall": (grpc.unary_stream_rpc_method_handler, self._output),
            "FullDuplexCall": (grpc.stream_stream_rpc_method_handler, self._duplex),
        }.get(details.method.removeprefix(_SERVICE), (None, None))
        return None if make is None else make(method)

    def _unary(self, sent: bytes, context: Any) -> bytes:
        asked = fields(sent)
        self._echo(asked, context)
        size = asked.get(2, [0])[0]
        assert isinstance(size, int)
        return message((1, _payload(size)))

    def _input(self, sent: Iterator[bytes], _: Any) -> bytes:
        return message((1, sum(map(_size, sent))))

    def _output(self, sent: bytes, context: Any) -> Iterator[bytes]:
        asked = fields(sent)
        self._echo(asked, context)
        for parameters in asked.get(2, ()):
            assert isinstance(parameters, bytes)
            (size,) = fields(parameters)[1]
            assert isinstance(size, int)
            yield message((1, _payload(size)))

    def _duplex(self, sent: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for one in sent:
            yield from self._output(one, context)

    def _echo(self, asked: dict[int, list[Value]], context: Any) -> None:
        known = dict(context.invocation_metadata())
        if _INITIAL in known:
            context.send_initial_metadata(((_INITIAL, known[_INITIAL]),))
        if _TRAILING in known:
            context.set_trailing_metadata(((_TRAILING, known[_TRAILING]),))
        for status in asked.get(7, ()):
            assert isinstance(status, bytes)
            said = fields(status)
            (code,), (text,) = said[1], said[2]
            assert isinstance(text, bytes)
            known_codes = {each.value[0]: each for each in grpc.StatusCode}
            context.abort(known_codes[code], text.decode())


@define
class _Talk:
    """A call in which the client waits for each answer before it goes on."""

    call: Any
    _said: Queue[bytes | None]

    @classmethod
    def on(cls, channel: Any, metadata: Any = ()) -> _Talk:
        said: Queue[bytes | None] = Queue()
        method = channel.stream_stream(_SERVICE + "FullDuplexCall")
        return cls(method(iter(said.get, None), metadata=metadata, timeout=_LIMIT_S), said)

    def say(self, data: bytes) -> None:
        self._said.put(data)

    def end(self) -> None:
        self._said.put(None)


def _unary(channel: Any, name: str, sent: bytes, metadata: Any = ()) -> Any:
    method = channel.unary_unary(_SERVICE + name)
    return method.with_call(sent, metadata=metadata, timeout=_LIMIT_S)


def _error(call: Callable[[], object]) -> tuple[object, str]:
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError


def empty_unary(channel: Any) -> None:
    assert _unary(channel, "EmptyCall", b"")[0] == b""


def large_unary(channel: Any) -> None:
    got, _ = _unary(channel, "UnaryCall", message((2, 314159), (3, _payload(271828))))
    assert _size(got) == 314159


def client_streaming(channel: Any) -> None:
    sent = [message((1, _payload(size))) for size in (27182, 8, 1828, 45904)]
    got = channel.stream_unary(_SERVICE + "StreamingInputCall")(iter(sent), timeout=_LIMIT_S)
    assert fields(got) == {1: [74922]}


def server_streaming(channel: Any) -> None:
    sizes = (31415, 9, 2653, 58979)
    sent = message(*[(2, message((1, size))) for size in sizes])
    got = channel.unary_stream(_SERVICE + "StreamingOutputCall")(sent, timeout=_LIMIT_S)
    assert tuple(map(_size, got)) == sizes


def ping_pong(channel: Any) -> None:
    talk = _Talk.on(channel)
    for asked, told in ((31415, 27182), (9, 8), (2653, 1828), (58979, 45904)):
        talk.say(message((2, message((1, asked))), (3, _payload(told))))
        assert _size(next(talk.call)) == asked
    talk.end()
    assert list(talk.call) == []
    assert talk.call.code() is grpc.StatusCode.OK


def cancel_after_begin(channel: Any) -> None:
    said: Queue[bytes | None] = Queue()
    method = channel.stream_unary(_SERVICE + "StreamingInputCall")
    call = method.future(iter(said.get, None), timeout=_LIMIT_S)
    call.cancel()
    said.put(None)
    assert call.cancelled()
    assert call.code() is grpc.StatusCode.CANCELLED


def status_code_and_message(channel: Any) -> None:
    wanted = grpc.StatusCode.UNKNOWN, "test status message"
    status = message((1, 2), (2, b"test status message"))
    assert _error(lambda: _unary(channel, "UnaryCall", message((7, status)))) == wanted
    talk = _Talk.on(channel)
    talk.say(message((7, status)))
    talk.end()
    assert _error(lambda: list(talk.call)) == wanted


def special_status_message(channel: Any) -> None:
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    status = message((1, 2), (2, text.encode()))
    wanted = grpc.StatusCode.UNKNOWN, text
    assert _error(lambda: _unary(channel, "UnaryCall", message((7, status)))) == wanted


def unimplemented_method(channel: Any) -> None:
    code, _ = _error(lambda: _unary(channel, "UnimplementedCall", b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def unimplemented_service(channel: Any) -> None:
    method = channel.unary_unary(_UNIMPLEMENTED_SERVICE + "UnimplementedCall")
    code, _ = _error(lambda: method(b"", timeout=_LIMIT_S))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def custom_metadata(channel: Any) -> None:
    initial = _INITIAL, "test_initial_metadata_value"
    trailing = _TRAILING, b"\xab\xab\xab"
    sent = message((2, 314159), (3, _payload(271828)))
    got, call = _unary(channel, "UnaryCall", sent, (initial, trailing))
    assert _size(got) == 314159
    assert initial in tuple(call.initial_metadata())
    assert trailing in tuple(call.trailing_metadata())
    talk = _Talk.on(channel, (initial, trailing))
    talk.say(message((2, message((1, 314159))), (3, _payload(271828))))
    assert _size(next(talk.call)) == 314159
    talk.end()
    assert list(talk.call) == []
    assert initial in tuple(talk.call.initial_metadata())
    assert trailing in tuple(talk.call.trailing_metadata())


CASES: tuple[Callable[[Any], None], ...] = (
    empty_unary,
    large_unary,
    client_streaming,
    server_streaming,
    ping_pong,
    cancel_after_begin,
    status_code_and_message,
    special_status_message,
    unimplemented_method,
    unimplemented_service,
    custom_metadata,
)
