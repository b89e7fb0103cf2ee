"""HTTP/2 by the package h2, where libnghttp2 is not installed.

h2 has the frames, the compression and the windows. It does not queue: what a
window does not take waits here, and the streams get their turn one after the
other. It answers most faults of a peer with the end of the connection, and
bounds CONTINUATION frames by a constant of its own, 64.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple

from buffr.errors import UpstreamFailed
from buffr.message import Headers
from buffr.wire.http2.interface import Bounds, Code, NeverIndexed, Nuisance, Role, User

__all__ = ["H2Engine"]

_PING = b"buffr\0\0\0"


class _LongLived(H2ConnectionStateMachine):
    """Streams that are open go on after a GOAWAY (RFC 9113 6.8); h2 closes the connection."""

    def process_input(self, input_: ConnectionInputs) -> list[Event]:
        if input_ in (ConnectionInputs.SEND_GOAWAY, ConnectionInputs.RECV_GOAWAY):
            return []
        return super().process_input(input_)


@define(eq=False)
class _Unsent:
    """What is left to send of one body."""

    pieces: deque[bytes] = field(factory=deque)
    size_bytes: int = 0
    ended: bool = False
    trailers: Headers | None = None


class H2Engine:
    """An ``Engine`` by h2."""

    def __init__(self, role: Role, user: User, bounds: Bounds) -> None:
        self.fault = ""
        self._user = user
        self._out = bytearray()
        self._unsent: dict[int, _Unsent] = {}
        self._leaving = False
        """Whether either side has said that it opens no more streams."""
        self._refusing = False
        """Whether the peer has been told so."""
        self._asked: set[int] = set()
        """Streams that this side has opened, and that may still be answered."""
        self._done = False
        self._with_head: PriorityUpdated | None = None
        """The priority that came in the last head, which is no frame of its own."""
        connection = self._connection = H2Connection(
            H2Configuration(
                client_side=role is Role.CLIENT,
                header_encoding=None,
                # What is sent is right already, and what comes is to stay as it is.
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
                validate_outbound_headers=False,
            )
        )
        connection.state_machine = _LongLived()
        connection.local_settings = Settings(
            client=role is Role.CLIENT, initial_values=_settings(role, bounds)
        )
        connection.decoder.max_header_list_size = bounds.head_bytes
        connection.initiate_connection()
        more = bounds.connection_bytes - connection.inbound_flow_control_window
        if more > 0:
            connection.increment_flow_control_window(more)
        self._hear: dict[type[Event], Callable[[Any], None]] = {
            RequestReceived: self._head,
            ResponseReceived: self._head,
            InformationalResponseReceived: self._interim,
            DataReceived: self._data,
            TrailersReceived: self._trailers,
            StreamReset: self._was_reset,
            ConnectionTerminated: self._going_away,
            PingReceived: lambda _: user.nuisance(Nuisance.PING),
            RemoteSettingsChanged: lambda _: user.nuisance(Nuisance.SETTINGS),
            PriorityUpdated: self._priority,
            WindowUpdated: lambda _: user.nuisance(Nuisance.WINDOW_UPDATE),
        }

    @property
    def over(self) -> bool:
        if self._done:
            return True
        connection = self._connection
        return self._leaving and not (
            connection.open_inbound_streams or connection.open_outbound_streams or self._unsent
        )

    @property
    def peer_streams(self) -> int:
        return self._connection.remote_settings.max_concurrent_streams

    @property
    def peer_takes_connect(self) -> bool:
        return self._connection.remote_settings.enable_connect_protocol == 1

    # What the peer sent, and what it gets.

    def receive(self, data: bytes) -> None:
        if self._done:
            return
        try:
            events = self._connection.receive_data(data)
        except H2Error as error:
            # h2 has framed the GOAWAY.
            self._done, self.fault = True, str(error) or type(error).__name__
            return
        hear = self._hear
        for event in events:
            heard = hear.get(type(event))
            if heard is not None:
                heard(event)

    def take(self, most: int) -> bytes:
        out = self._out
        out += self._connection.data_to_send()
        if len(out) < most and self._unsent and not self._done:
            self._frame(most)
        data = bytes(out[:most])
        del out[:most]
        return data

    def _frame(self, most: int) -> None:
        """Frame bodies until there are so many bytes, a frame of each stream at a time."""
        moved = True
        while moved and len(self._out) < most:
            moved = False
            for stream, unsent in list(self._unsent.items()):
                moved = self._frame_one(stream, unsent) or moved
                self._out += self._connection.data_to_send()
                if len(self._out) >= most:
                    break

    def _frame_one(self, stream: int, unsent: _Unsent) -> bool:
        """Frame the next part of one body. Returns whether there was something to frame."""
        connection = self._connection
        try:
            if unsent.pieces:
                room = min(
                    connection.local_flow_control_window(stream),
                    connection.max_outbound_frame_size,
                )
                if room <= 0:
                    return False
                piece = unsent.pieces.popleft()
                if len(piece) > room:
                    unsent.pieces.appendleft(piece[room:])
                    piece = piece[:room]
                unsent.size_bytes -= len(piece)
                last = not unsent.pieces and unsent.ended and unsent.trailers is None
                connection.send_data(stream, piece, end_stream=last)
                if last:
                    del self._unsent[stream]
                return True
            if unsent.ended:
                del self._unsent[stream]
                if unsent.trailers is None:
                    connection.end_stream(stream)
                else:
                    connection.send_headers(stream, _marked(unsent.trailers), end_stream=True)
                return True
        except H2Error:  # the stream is over
            self._unsent.pop(stream, None)
        return False

    # Messages.

    def request(self, fields: Headers, *, ended: bool) -> int:
        connection = self._connection
        if self._leaving:
            raise UpstreamFailed("no stream can be opened: the connection is being closed")
        try:
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, _marked(fields), end_stream=ended)
        except H2Error as error:
            raise UpstreamFailed(f"no stream can be opened: {error}") from error
        self._asked.add(stream)
        return stream

    def answer(self, stream: int, fields: Headers, *, ended: bool) -> None:
        try:
            self._connection.send_headers(stream, _marked(fields), end_stream=ended)
        except H2Error:
            return

    def inform(self, stream: int, fields: Headers) -> None:
        self.answer(stream, fields, ended=False)

    def send(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        unsent = self._body(stream)
        if data:
            unsent.pieces.append(data)
            unsent.size_bytes += len(data)
        unsent.ended = unsent.ended or ended

    def trail(self, stream: int, fields: Headers) -> None:
        unsent = self._body(stream)
        unsent.ended, unsent.trailers = True, fields

    def _body(self, stream: int) -> _Unsent:
        unsent = self._unsent.get(stream)
        if unsent is None:
            unsent = self._unsent[stream] = _Unsent()
        return unsent

    def reset(self, stream: int, code: Code) -> None:
        self._unsent.pop(stream, None)
        self._asked.discard(stream)
        try:
            self._connection.reset_stream(stream, ErrorCodes(code))
        except H2Error:
            return

    # Flow control.

    def unsent(self, stream: int) -> int:
        unsent = self._unsent.get(stream)
        return 0 if unsent is None else unsent.size_bytes

    def consumed(self, stream: int, size_bytes: int) -> None:
        try:
            self._connection.acknowledge_received_data(size_bytes, stream)
        except H2Error:
            return

    # The connection.

    def ping(self) -> None:
        if not self.over:
            self._connection.ping(_PING)

    def go_away(self) -> None:
        if not (self.over or self._refusing):
            self._leaving = self._refusing = True
            self._connection.close_connection()

    def terminate(self, code: Code) -> None:
        if not self.over:
            self._connection.close_connection(code)
            self._done = True

    def forget(self) -> None:
        self._hear.clear()
        del self._user

    # The library's events.

    def _head(self, event: RequestReceived | ResponseReceived) -> None:
        self._with_head = event.priority_updated
        if self._refusing and isinstance(event, RequestReceived):
            self.reset(event.stream_id, Code.REFUSED_STREAM)
            return
        ended = event.stream_ended is not None
        if ended:
            self._asked.discard(event.stream_id)
        self._user.head(event.stream_id, _unmarked(event.headers), ended=ended)

    def _interim(self, event: InformationalResponseReceived) -> None:
        self._user.interim(event.stream_id, _unmarked(event.headers))

    def _data(self, event: DataReceived) -> None:
        data, ended = event.data, event.stream_ended is not None
        if ended:
            self._asked.discard(event.stream_id)
        padding = event.flow_controlled_length - len(data)
        if padding:
            self.consumed(event.stream_id, padding)
        if data or ended:
            self._user.data(event.stream_id, data, ended=ended)
        else:
            self._user.nuisance(Nuisance.EMPTY_DATA)

    def _priority(self, event: PriorityUpdated) -> None:
        if event is not self._with_head:
            self._user.nuisance(Nuisance.PRIORITY)

    def _trailers(self, event: TrailersReceived) -> None:
        self._asked.discard(event.stream_id)
        self._user.trailers(event.stream_id, _unmarked(event.headers))

    def _was_reset(self, event: StreamReset) -> None:
        self._unsent.pop(event.stream_id, None)
        self._asked.discard(event.stream_id)
        self._user.reset(event.stream_id, event.error_code)

    def _going_away(self, event: ConnectionTerminated) -> None:
        self._leaving = True
        last = event.last_stream_id or 0
        self._user.going_away(last, event.error_code or 0)
        for stream in sorted(one for one in self._asked if one > last):
            self.reset(stream, Code.REFUSED_STREAM)
            self._user.reset(stream, Code.REFUSED_STREAM)


def _settings(role: Role, bounds: Bounds) -> dict[SettingCodes, int]:
    known = {
        SettingCodes.INITIAL_WINDOW_SIZE: bounds.stream_bytes,
        SettingCodes.MAX_HEADER_LIST_SIZE: bounds.head_bytes,
    }
    if role is Role.CLIENT:
        return known | {SettingCodes.ENABLE_PUSH: 0}
    return known | {
        SettingCodes.MAX_CONCURRENT_STREAMS: bounds.streams,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
    }


def _marked(fields: Headers) -> list[tuple[bytes, bytes]]:
    """The fields with the library's own mark on those that are never indexed."""
    return [
        NeverIndexedHeaderTuple(*field) if type(field) is NeverIndexed else field
        for field in fields
    ]


def _unmarked(fields: Any) -> Headers:
    """The fields with our mark on those that are never indexed."""
    return tuple(
        [
            NeverIndexed(*field) if type(field) is NeverIndexedHeaderTuple else (field[0], field[1])
            for field in fields
        ]
    )
