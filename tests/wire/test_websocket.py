"""WebSocket frames of one direction: what passes, what it stands for, and what must not."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import WebSocketFault
from buffr.interaction import FrameKind
from buffr.wire.websocket_deflate import Deflater, Inflater
from buffr.wire.websocket_frames import (
    WHOLE_TEXT,
    Control,
    Data,
    FrameReader,
    close_payload,
    encode_frame,
    unmask,
)

KEY = b"\x11\x22\x33\x44"
TEXT, BINARY = FrameKind.TEXT, FrameKind.BINARY
CLOSE, PING, PONG = FrameKind.CLOSE, FrameKind.PING, FrameKind.PONG


@frozen
class Read:
    """What came of some bytes: messages and control frames in order, what passed, the fault."""

    events: list[tuple[FrameKind, bytes]]
    raw: bytes
    code: int | None


def read(parts: Iterable[bytes], reader: FrameReader, *, by_message: bool = False) -> Read:
    """What comes of the parts; ``by_message`` takes those that are one plain message as such."""
    events: list[tuple[FrameKind, bytes]] = []
    raw = b""
    message = b""
    code = None
    try:
        for part in parts:
            payload = reader.message(part) if by_message else None
            if payload is not None:
                assert not message
                events.append((TEXT if part[0] == WHOLE_TEXT else BINARY, payload))
                raw += part
                continue
            for passed in reader.feed(part):
                raw += passed.raw
                event = passed.event
                if isinstance(event, Control):
                    events.append((event.kind, event.payload))
                else:
                    message += event.payload
                    if event.ends_message:
                        events.append((event.kind, message))
                        message = b""
    except WebSocketFault as fault:
        code = fault.close_code
    return Read(events, raw, code)


def frame(kind: FrameKind | None, payload: bytes = b"", *, final: bool = True) -> bytes:
    return encode_frame(kind, payload, final=final, key=KEY)


def fault_of(data: bytes, *, deflate: bool = False, message_bytes: int = 0) -> int | None:
    inflater = Inflater() if deflate else None
    return read(
        [data], FrameReader(masked=True, inflater=inflater, message_bytes=message_bytes)
    ).code


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


frames = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=300).map(str.encode)),
        st.tuples(st.just(BINARY), st.binary(max_size=70_000)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=6,
)


class TestWhatPasses:
    @given(frames, st.data(), st.booleans())
    def test_any_cut_gives_the_same_events_and_all_bytes(
        self, sent: list[tuple[FrameKind, bytes]], data: st.DataObject, masked: bool
    ) -> None:
        key = KEY if masked else b""
        stream = b"".join(encode_frame(kind, payload, key=key) for kind, payload in sent)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert read(parts, FrameReader(masked=masked)) == Read(sent, stream, None)

    @given(st.lists(st.text(max_size=50), min_size=1, max_size=5), st.booleans())
    def test_text_may_be_cut_within_a_character(self, texts: list[str], byte_by_byte: bool) -> None:
        payload = "".join(texts).encode()
        pieces = [payload[at : at + 1] for at in range(len(payload))] or [b""]
        kinds = [TEXT, *[None] * (len(pieces) - 1)]
        stream = b"".join(
            frame(kind, piece, final=number == len(pieces))
            for number, (kind, piece) in enumerate(zip(kinds, pieces, strict=True), 1)
        )
        parts = [stream[at : at + 1] for at in range(len(stream))] if byte_by_byte else [stream]
        assert read(parts, FrameReader(masked=True)).events == [(TEXT, payload)]

    @given(st.lists(st.binary(max_size=70_000), max_size=4), st.booleans())
    def test_compressed_messages_are_inflated_and_pass_as_they_came(
        self, messages: list[bytes], takeover: bool
    ) -> None:
        deflater = Deflater(takeover=takeover)
        stream = b"".join(
            encode_frame(BINARY, deflater.deflate(data, final=True), compressed=True, key=KEY)
            for data in messages
        )
        reader = FrameReader(masked=True, inflater=Inflater(takeover=takeover))
        assert read([stream], reader) == Read([(BINARY, one) for one in messages], stream, None)

    def test_fragments_and_a_ping_between_them(self) -> None:
        stream = frame(TEXT, b"a", final=False) + frame(PING, b"p") + frame(None, b"b")
        assert read([stream], FrameReader(masked=True)).events == [(PING, b"p"), (TEXT, b"ab")]

    def test_a_final_deflate_block_does_not_end_the_session(self) -> None:
        """RFC 7692 7.2.3.4."""
        stream = zlib.compressobj(wbits=-15)
        ended = stream.compress(b"one") + stream.flush(zlib.Z_FINISH) + b"\x00"
        sent = [encode_frame(TEXT, one, compressed=True) for one in (ended, deflated(b"two"))]
        reader = FrameReader(masked=False, inflater=Inflater())
        assert read(sent, reader).events == [(TEXT, b"one"), (TEXT, b"two")]

    def test_a_large_frame_goes_on_in_pieces(self) -> None:
        """It is not gathered: what has come of it has passed."""
        reader = FrameReader(masked=True)
        start = frame(BINARY, bytes(200_000))[:100_000]
        assert read([start], reader).raw == start
        assert reader.inside

    def test_nothing_passes_behind_a_close_frame(self) -> None:
        closing = frame(CLOSE, close_payload(1000, "bye"))
        reader = FrameReader(masked=True)
        assert read([closing + frame(TEXT, b"late"), frame(TEXT, b"later")], reader).raw == closing

    def test_a_bomb_is_inflated_only_as_it_is_asked_for(self) -> None:
        bomb = encode_frame(BINARY, deflated(bytes(64 << 20)), compressed=True)
        passing = FrameReader(masked=False, inflater=Inflater()).feed(bomb)
        first = next(passing)
        assert isinstance(first.event, Data)
        assert 0 < len(first.event.payload) <= 65536
        assert first.raw == b""


segments = st.lists(
    st.one_of(
        frames.map(lambda sent: b"".join(frame(*each) for each in sent)),
        st.builds(frame, st.sampled_from([TEXT, BINARY, CLOSE, PING]), st.binary(max_size=130)),
        st.builds(
            frame, st.sampled_from([TEXT, BINARY, None]), st.binary(max_size=9), final=st.booleans()
        ),
        st.binary(max_size=12),
        st.sampled_from([TEXT, BINARY]).map(lambda kind: encode_frame(kind, b"bare")),
        st.sampled_from(
            [
                b"\x81\xfe\x00\x04" + KEY + b"long",  # a length that is not in its shortest form
                b"\xc1\x84" + KEY + b"rsv1",
                frame(TEXT, bytes(200))[:-1],
                frame(BINARY, bytes(70_000)),
            ]
        ),
    ),
    max_size=5,
)


class TestWholeMessages:
    """What is taken as one message at once is what the frames say anyhow."""

    @given(segments, st.booleans(), st.booleans(), st.sampled_from([0, 100]))
    def test_any_segments_give_the_same(
        self, parts: list[bytes], masked: bool, deflate: bool, message_bytes: int
    ) -> None:
        def reader() -> FrameReader:
            inflater = Inflater() if deflate else None
            return FrameReader(masked=masked, inflater=inflater, message_bytes=message_bytes)

        assert read(parts, reader(), by_message=True) == read(parts, reader())

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535])
    @pytest.mark.parametrize("key", [KEY, b""], ids=["masked", "plain"])
    def test_it_is_taken_up_to_64_kib(self, size: int, key: bytes) -> None:
        data = encode_frame(TEXT, b"m" * size, key=key)
        assert FrameReader(masked=bool(key)).message(data) == b"m" * size

    def test_not_within_another_message(self) -> None:
        reader = FrameReader(masked=True)
        read([frame(TEXT, b"a", final=False)], reader)
        assert reader.message(frame(BINARY, b"b")) is None


class TestFaults:
    @pytest.mark.parametrize(
        "data",
        [
            encode_frame(TEXT, b"unmasked"),
            b"\xc1\x80" + KEY,
            b"\xa1\x80" + KEY,
            b"\x91\x80" + KEY,
            *[bytes((0x80 | opcode, 0x80)) + KEY for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
            frame(None, b"continues nothing"),
            frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
            frame(PING, b"", final=False),
            b"\x89\xfe\x00\x7e" + KEY + bytes(126),
            frame(CLOSE, b"\x03"),
            *[
                frame(CLOSE, code.to_bytes(2, "big"))
                for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
            ],
            b"\x82\xfe\x00\x05" + KEY + bytes(5),
            b"\x82\xff" + (5).to_bytes(8, "big") + KEY + bytes(5),
            b"\x82\xff" + (1 << 63).to_bytes(8, "big") + KEY,
        ],
    )
    def test_a_breach_of_the_protocol_is_1002(self, data: bytes) -> None:
        assert fault_of(data) == 1002

    def test_a_server_must_not_mask(self) -> None:
        assert read([frame(TEXT, b"a")], FrameReader(masked=False)).code == 1002

    @pytest.mark.parametrize(
        "data",
        [
            frame(TEXT, b"\xff"),
            frame(TEXT, b"\xed\xa0\x80"),
            frame(TEXT, b"\xf4\x90\x80\x80"),
            frame(TEXT, b"cut \xe2\x82"),
            frame(TEXT, b"\xe2", final=False) + frame(None, b"(\xa1"),
            frame(TEXT, b"\xe2", final=False) + frame(None),
            frame(CLOSE, b"\x03\xe8\xff"),
        ],
    )
    def test_text_that_is_not_utf8_is_1007(self, data: bytes) -> None:
        assert fault_of(data) == 1007

    @pytest.mark.parametrize("payload", [b"\xff\xff\xff\xff", deflated(b"\xff\xfe")])
    def test_so_is_what_does_not_inflate_to_it(self, payload: bytes) -> None:
        assert fault_of(encode_frame(TEXT, payload, compressed=True, key=KEY), deflate=True) == 1007

    def test_only_the_first_frame_says_that_it_is_compressed(self) -> None:
        first = encode_frame(TEXT, deflated(b"a"), final=False, compressed=True, key=KEY)
        second = encode_frame(None, b"", compressed=True, key=KEY)
        assert fault_of(first + second, deflate=True) == 1002

    @pytest.mark.parametrize(
        "data",
        [
            frame(BINARY, bytes(1001)),
            frame(BINARY, bytes(600), final=False) + frame(None, bytes(401)),
            encode_frame(BINARY, deflated(bytes(100_000)), compressed=True, key=KEY),
            b"\x82\xff" + (1 << 62).to_bytes(8, "big") + KEY,
        ],
    )
    def test_a_message_over_the_bound_is_1009(self, data: bytes) -> None:
        assert fault_of(data, deflate=True, message_bytes=1000) == 1009

    def test_a_bad_frame_does_not_pass_but_those_before_it_do(self) -> None:
        good = frame(TEXT, b"good")
        assert read([good + frame(TEXT, b"\xff")], FrameReader(masked=True)) == Read(
            [(TEXT, b"good")], good, 1007
        )

    @given(st.binary(max_size=300), st.booleans(), st.booleans())
    def test_any_bytes_pass_or_are_a_fault(self, data: bytes, masked: bool, deflate: bool) -> None:
        """And what passes is a prefix of what came."""
        reader = FrameReader(
            masked=masked, inflater=Inflater() if deflate else None, message_bytes=10_000
        )
        assert data.startswith(read([data], reader).raw)


class TestWriting:
    @given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
    def test_masking_twice_is_nothing(self, data: bytes, key: bytes) -> None:
        masked = unmask(data, key)
        assert masked == bytes(one ^ key[at % 4] for at, one in enumerate(data))
        assert unmask(masked, key) == data

    def test_a_reason_is_cut_between_characters(self) -> None:
        payload = close_payload(1011, "x" + "\N{EURO SIGN}" * 60)
        assert len(payload) <= 125
        assert payload[2:].decode() == "x" + "\N{EURO SIGN}" * 40
