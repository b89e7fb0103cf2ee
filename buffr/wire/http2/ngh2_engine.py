"""HTTP/2 by libnghttp2, through the package ngh2.

libnghttp2 has the frames, the compression, the windows and the order in which
streams get their turn. What is left here is its words in ours, and one rule:
what it refuses is an event or ``fault``, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ngh2
from ngh2 import Setting

from buffr.errors import UpstreamFailed
from buffr.message import Headers
from buffr.wire.http2.interface import Bounds, Code, NeverIndexed, Nuisance, Role, User

__all__ = ["Ngh2Engine"]

_PLAIN = {tuple}
_ACKNOWLEDGEMENTS = 10_000
"""Answers to PING and SETTINGS that may wait. They are taken after each ``receive``, which is
bounded by what a transport reads; the flood is the user's to notice, by their rate."""
_RESETS = 1 << 20, 1 << 20
"""A burst and a rate: resets are the user's to count, too."""
_FIELD_BYTES = 32
"""What a field counts for, beside its name and value (RFC 9113 6.5.2)."""
_UNBOUNDED = 0xFFFFFFFF
_GONE = (
    ngh2.StreamProtocolError,
    ngh2.ConnectionStateError,
    ngh2.ConnectionClosingError,
)
"""The stream is over, or the connection."""


class Ngh2Engine:
    """An ``Engine`` by libnghttp2."""

    def __init__(self, role: Role, user: User, bounds: Bounds) -> None:
        self._user = user
        self._broken = ""
        """Why libnghttp2 has given up, without a GOAWAY."""
        self._leaving = False
        """Whether either side has said that it leaves."""
        self._refusing = False
        """Whether the peer was told so."""
        self._open: set[int] = set()
        self._reset: set[int] = set()
        """Streams that are known to be over before libnghttp2 says that they are closed."""
        self._peer: dict[int, int] = {}
        connection = self._connection = ngh2.Connection(
            ngh2.Role.SERVER if role is Role.SERVER else ngh2.Role.CLIENT,
            ngh2.Configuration(
                auto_window_update=False,
                max_outbound_ack=_ACKNOWLEDGEMENTS,
                stream_reset_rate_limit=_RESETS,
                max_continuations=bounds.continuations,
                max_inbound_header_list_size=bounds.head_bytes,
                max_inbound_header_count=bounds.head_bytes // _FIELD_BYTES,
                max_send_header_block_length=1 << 24,
            ),
        )
        connection.initiate_connection(_settings(role, bounds))
        connection.set_local_window_size(bounds.connection_bytes)
        self._take = connection.data_to_send
        self._hear: dict[type, Callable[[Any], None]] = {
            ngh2.RequestReceived: self._request,
            ngh2.ResponseReceived: self._head,
            ngh2.InformationalResponseReceived: self._interim,
            ngh2.DataReceived: self._data,
            ngh2.TrailersReceived: self._trailers,
            ngh2.StreamReset: self._was_reset,
            ngh2.StreamClosed: self._closed,
            ngh2.GoAwayReceived: self._going_away,
            ngh2.PingReceived: self._ping,
            ngh2.SettingsReceived: self._settings,
            ngh2.WindowUpdated: self._window,
            ngh2.PriorityUpdateReceived: self._priority,
        }

    @property
    def over(self) -> bool:
        connection = self._connection
        return bool(self._broken) or not (connection.want_read or connection.want_write)

    @property
    def fault(self) -> str:
        if self._broken or self._leaving or not self.over:
            return self._broken
        return "the peer broke the protocol"

    @property
    def peer_streams(self) -> int:
        return self._peer.get(Setting.MAX_CONCURRENT_STREAMS, _UNBOUNDED)

    @property
    def peer_takes_connect(self) -> bool:
        return self._peer.get(Setting.ENABLE_CONNECT_PROTOCOL) == 1

    # What the peer sent, and what it gets.

    def receive(self, data: bytes) -> None:
        connection = self._connection
        try:
            connection.receive_data(data)
        except ngh2.NGH2Error as error:
            self._broken = _words(error)
        self._tell(connection.events())

    def _tell(self, events: list[ngh2.Event]) -> None:
        hear = self._hear
        for event in events:
            heard = hear.get(type(event))
            if heard is not None:
                heard(event)

    def take(self, most: int) -> bytes:
        if self._broken:
            return b""
        data = self._take(most)
        # A stream that was reset for its faults is closed when the reset is framed.
        events = self._connection.events()
        if events:
            self._tell(events)
        return data

    # Messages.

    def request(self, fields: Headers, *, ended: bool) -> int:
        try:
            stream = self._connection.send_request(_marked(fields), end_stream=ended)
        except ngh2.NGH2Error as error:
            raise UpstreamFailed(f"no stream can be opened: {_words(error)}") from error
        self._open.add(stream)
        return stream

    def answer(self, stream: int, fields: Headers, *, ended: bool) -> None:
        try:
            self._connection.send_response(stream, _marked(fields), end_stream=ended)
        except _GONE:
            return

    def inform(self, stream: int, fields: Headers) -> None:
        try:
            self._connection.send_informational_response(stream, _marked(fields))
        except _GONE:
            return

    def send(self, stream: int, data: bytes, *, ended: bool = False) -> None:
        try:
            self._connection.send_data(stream, data, end_stream=ended)
        except _GONE:
            return

    def trail(self, stream: int, fields: Headers) -> None:
        try:
            self._connection.send_trailers(stream, _marked(fields))
        except _GONE:
            return

    def reset(self, stream: int, code: Code) -> None:
        if stream not in self._open:
            return
        self._open.discard(stream)
        self._reset.add(stream)
        try:
            self._connection.reset_stream(stream, code)
        except _GONE:
            return

    # Flow control.

    def unsent(self, stream: int) -> int:
        return self._connection.queued_body_size(stream)

    def consumed(self, stream: int, size_bytes: int) -> None:
        try:
            self._connection.acknowledge_received_data(size_bytes, stream)
        except (*_GONE, ValueError):  # libnghttp2 has dealt with it when the stream was closed
            return

    # The connection.

    def ping(self) -> None:
        if not self.over:
            self._connection.ping()

    def go_away(self) -> None:
        if not self.over:
            self._leaving = self._refusing = True
            self._connection.send_goaway()

    def terminate(self, code: Code) -> None:
        if not self.over:
            self._leaving = True
            self._connection.terminate_connection(code)

    def forget(self) -> None:
        self._hear.clear()
        del self._user

    # The library's events.

    def _request(self, event: ngh2.RequestReceived) -> None:
        self._open.add(event.stream_id)
        if self._refusing:
            # It came before the GOAWAY went, which tells the client that nobody has seen it.
            self.reset(event.stream_id, Code.REFUSED_STREAM)
            return
        self._head(event)

    def _head(self, event: ngh2.RequestReceived | ngh2.ResponseReceived) -> None:
        self._user.head(event.stream_id, _unmarked(event.headers), ended=event.end_stream)

    def _interim(self, event: ngh2.InformationalResponseReceived) -> None:
        self._user.interim(event.stream_id, _unmarked(event.headers))

    def _data(self, event: ngh2.DataReceived) -> None:
        data, ended = event.data, event.end_stream
        if not (data or ended):
            self._user.nuisance(Nuisance.EMPTY_DATA)
            return
        self._user.data(event.stream_id, data, ended=ended)

    def _trailers(self, event: ngh2.TrailersReceived) -> None:
        self._user.trailers(event.stream_id, _unmarked(event.headers))

    def _was_reset(self, event: ngh2.StreamReset) -> None:
        self._reset.add(event.stream_id)
        self._user.reset(event.stream_id, event.error_code)

    def _closed(self, event: ngh2.StreamClosed) -> None:
        stream = event.stream_id
        self._open.discard(stream)
        if stream in self._reset:
            self._reset.discard(stream)
        elif event.error_code:  # of libnghttp2's own, for what the peer sent
            self._user.reset(stream, event.error_code)

    def _going_away(self, event: ngh2.GoAwayReceived) -> None:
        self._leaving = True
        self._user.going_away(event.last_stream_id, event.error_code)

    def _ping(self, _: ngh2.PingReceived) -> None:
        self._user.nuisance(Nuisance.PING)

    def _settings(self, event: ngh2.SettingsReceived) -> None:
        self._peer.update(event.settings)
        self._user.nuisance(Nuisance.SETTINGS)

    def _window(self, _: ngh2.WindowUpdated) -> None:
        self._user.nuisance(Nuisance.WINDOW_UPDATE)

    def _priority(self, _: ngh2.PriorityUpdateReceived) -> None:
        self._user.nuisance(Nuisance.PRIORITY)


def _settings(role: Role, bounds: Bounds) -> dict[int, int]:
    known = {
        Setting.INITIAL_WINDOW_SIZE: bounds.stream_bytes,
        Setting.MAX_HEADER_LIST_SIZE: bounds.head_bytes,
    }
    if role is Role.CLIENT:
        known[Setting.ENABLE_PUSH] = 0
        return {int(name): value for name, value in known.items()}
    known[Setting.MAX_CONCURRENT_STREAMS] = bounds.streams
    known[Setting.ENABLE_CONNECT_PROTOCOL] = 1
    known[Setting.NO_RFC7540_PRIORITIES] = 1
    return {int(name): value for name, value in known.items()}


def _marked(fields: Headers) -> Headers:
    """The fields with the library's own mark on those that are never indexed."""
    if set(map(type, fields)) == _PLAIN:
        return fields
    return tuple(
        [
            ngh2.NeverIndexedHeader(*field) if type(field) is NeverIndexed else field
            for field in fields
        ]
    )


def _unmarked(fields: Headers) -> Headers:
    """The fields with our mark on those that are never indexed."""
    if set(map(type, fields)) == _PLAIN:
        return fields
    return tuple(
        [
            NeverIndexed(*field) if type(field) is ngh2.NeverIndexedHeader else field
            for field in fields
        ]
    )


def _words(error: Exception) -> str:
    return str(error).removeprefix("HTTP/2 engine error: ")
