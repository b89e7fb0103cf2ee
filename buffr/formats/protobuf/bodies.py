"""Bodies that consist of protobuf's messages: of gRPC, gRPC-Web, Connect and Twirp.

Which messages a body has follows from the path, which names a method, and from
the media type, which says how they are framed.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakSet

import msgspec
from attrs import define, field, frozen

from buffr.formats.grpc import END_OF_STREAM, TRAILERS, frames
from buffr.formats.protobuf.leaves import Layout
from buffr.formats.protobuf.wire import raw_document

__all__ = [
    "BadDescriptors",
    "Declarations",
    "Framing",
    "MessageType",
    "MessageTypes",
    "Messages",
    "Method",
    "from_base64",
    "method_named",
]


class BadDescriptors(ValueError):
    """Bytes are no descriptors that can be used; the message says why, without their place."""


class MessageType(Protocol):
    """A type of messages."""

    @property
    def name(self) -> str: ...
    @property
    def layout(self) -> Layout: ...
    def document(self, data: bytes) -> Any:
        """A message as a document of JSON. Raises ``ValueError``."""


@frozen(eq=False)
class Method:
    """The types of a method's messages, and which side may send several."""

    request: MessageType
    answer: MessageType
    client_streams: bool = False
    server_streams: bool = False


class Declarations(Protocol):
    """Declared services."""

    def method(self, service: str, name: str) -> Method | None: ...
    def behind(self, service: str) -> bytes:
        """The ``FileDescriptorSet`` that declares a service, with all that it needs."""


class Watcher(Protocol):
    """Remembers what messages mean."""

    def forget(self) -> None:
        """What is declared has changed."""


@frozen
class Framing:
    """How the messages of a body are set apart, by its media type.

    ``name`` stands for all spellings of the media type. ``enveloped``: each
    message follows its length, else the body is one message. ``base64``: all
    of that in base64.
    """

    name: bytes
    enveloped: bool = True
    base64: bool = False


_GRPC = Framing(b"application/grpc")
_WEB = Framing(b"application/grpc-web")
_WEB_TEXT = Framing(b"application/grpc-web-text", base64=True)
_CONNECT = Framing(b"application/connect+proto")
_BARE = Framing(b"application/proto", enveloped=False)

_FRAMINGS = {
    **{one.name: one for one in (_GRPC, _WEB, _WEB_TEXT, _CONNECT, _BARE)},
    **{one.name + b"+proto": one for one in (_GRPC, _WEB, _WEB_TEXT)},
    b"application/protobuf": _BARE,
    b"application/x-protobuf": _BARE,
}

_PATH = re.compile(rb"[^?#]*/([A-Za-z_][\w.]*)/([A-Za-z_]\w*)(?:[?#].*)?", re.ASCII | re.DOTALL)


@lru_cache(maxsize=1024)
def method_named(target: bytes) -> tuple[str, str] | None:
    """The service and the method that a target names: its last two segments.

    ``None`` if they are no names.
    """
    found = _PATH.fullmatch(target)
    return None if found is None else (found[1].decode(), found[2].decode())


@frozen(eq=False)
class Messages:
    """The messages of a body. With ``several``, their document is a list, however many there are.

    ``type`` is ``None`` if it is not declared.
    """

    framing: Framing
    type: MessageType | None
    several: bool = False

    def document(self, body: bytes, most_bytes: int) -> bytes | None:
        """The messages as JSON; ``None`` if they are not of this type, or too long inflated."""
        if self.type is None:
            return None
        try:
            read = self.contents(body, most_bytes)
            found = [self.type.document(one) for one in read]
            if not self.several and len(found) != 1:
                return None
            return msgspec.json.encode(found if self.several else found[0])
        except (ValueError, RecursionError):
            return None

    def shown(self, body: bytes, most_bytes: int) -> bytes | None:
        """The messages as JSON for people: by the fields' numbers if their type is not declared.

        ``None`` if it has no messages that could be read.
        """
        document = self.document(body, most_bytes)
        if document is not None:
            return document
        try:
            found = [raw_document(one) for one in self.contents(body, most_bytes)]
        except ValueError:
            return None
        if not found:
            return None
        return msgspec.json.encode(found if self.several or len(found) > 1 else found[0])

    def contents(self, body: bytes, most_bytes: int) -> list[bytes]:
        """The messages of a body, inflated. Raises ``ValueError``."""
        framing = self.framing
        if framing.base64:
            body = from_base64(body)
        if not framing.enveloped:
            return [body]
        return [
            one.content
            for one in frames(body, most_bytes)
            if not one.flags & (TRAILERS | END_OF_STREAM)
        ]


def from_base64(text: bytes) -> bytes:
    """Base64, which may be padded wherever a piece of it ended. Raises ``ValueError``."""
    found = bytearray()
    try:
        for piece in re.findall(rb"[^=]+=*", text):
            found += b64decode(piece, validate=True)
    except Error as error:
        raise ValueError("it is not base64") from error
    return bytes(found)


@define(eq=False)
class MessageTypes:
    """Finds the messages of requests and answers. What is declared may grow.

    ``declared`` are searched in their order. ``growing``: recordings may have
    been filed by their bytes before something was declared.
    """

    declared: tuple[Declarations, ...] = ()
    growing: bool = field(default=False, init=False)
    _watchers: WeakSet[Watcher] = field(factory=WeakSet, init=False)

    def watch(self, watcher: Watcher) -> None:
        """Have a watcher forget what it remembers when more is declared."""
        self._watchers.add(watcher)

    def add(self, more: Declarations, *, first: bool = False) -> None:
        """Know more, after what is known or ``first`` of all."""
        self.declared = (more, *self.declared) if first else (*self.declared, more)
        for watcher in list(self._watchers):
            self.growing = True
            watcher.forget()

    def declaring(self, target: bytes) -> tuple[str, Declarations] | None:
        """The service that a target names, and what declares its method."""
        named = method_named(target)
        if named is None:
            return None
        found = (one for one in self.declared if one.method(*named) is not None)
        return next(((named[0], one) for one in found), None)

    def of_request(self, target: bytes, media_type: bytes) -> Messages | None:
        """The messages of a request; ``None`` if it has none of protobuf's."""
        return self._of(target, media_type, lambda one: (one.request, one.client_streams))

    def of_answer(self, target: bytes, media_type: bytes) -> Messages | None:
        """The same for its answer."""
        return self._of(target, media_type, lambda one: (one.answer, one.server_streams))

    def _of(
        self, target: bytes, media_type: bytes, side: Callable[[Method], tuple[MessageType, bool]]
    ) -> Messages | None:
        framing = _FRAMINGS.get(media_type)
        if framing is None:
            return None
        method = self.method(target)
        return Messages(framing, None) if method is None else Messages(framing, *side(method))

    def method(self, target: bytes) -> Method | None:
        """The method that a target names, if it is declared."""
        named = method_named(target) if self.declared else None
        if named is None:
            return None
        found = (one.method(*named) for one in self.declared)
        return next((one for one in found if one is not None), None)
