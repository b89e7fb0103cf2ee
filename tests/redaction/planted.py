"""The planted values of ``corpus/planted.tsv``, each in its own exchange."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable, Iterator, Mapping
from hashlib import shake_256
from pathlib import Path
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from attrs import frozen

from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.stores.cassette.format import encode

__all__ = ["PLACES", "Planted", "filled", "leaks", "planted", "told"]

_CORPUS = Path(__file__).parent / "corpus" / "planted.tsv"

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_ALPHABETS = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "low": _LOWER + _DIGITS,
    "up": _LOWER.upper() + _DIGITS,
    "an": _LOWER + _LOWER.upper() + _DIGITS,
    "alpha": _LOWER + _LOWER.upper(),
    "w": _LOWER + _LOWER.upper() + _DIGITS + "_-",
    "b64": _LOWER + _LOWER.upper() + _DIGITS + "+/",
    "dig": _DIGITS,
}
_FIELD = re.compile(r"\{(hex|HEX|low|up|an|alpha|w|b64|dig|uuid|jwt|pem):?(\d*)(!?)\}")
_EDGE = "an"


@frozen
class Planted:
    """A value under a name in a place. ``secrets`` are the parts that reveal it."""

    number: int
    source: str
    place: str
    name: str
    template: str
    value: str
    secrets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.number}-{self.place}-{self.name}-{self.template[:24]}"

    @property
    def exchange(self) -> Interaction:
        """The value where it was planted."""
        return PLACES[self.place]("text" if self.name == "-" else self.name, self.value)

    def leaks(self, text: bytes) -> bool:
        """Whether a text contains the value, or half of it, in any spelling."""
        return leaks(text, self.secrets)


def planted(variety: str = "") -> list[Planted]:
    """All of the corpus. Another variety has other values."""
    lines = _CORPUS.read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [_made(number, row, variety) for number, row in enumerate(rows, 1)]


def _made(number: int, row: list[str], variety: str) -> Planted:
    source, place, name, template = row
    value, marked = filled(template, f"{variety}/{number}")
    if not marked:
        # Of a JWT the signature is the secret; a name in front of one is none.
        marked = (value.rpartition(".")[2] if "{jwt}" in template else value,)
    return Planted(number, source, place, name, template, value, marked)


def filled(template: str, seed: str) -> tuple[str, tuple[str, ...]]:
    """A value of a template, always the same for a seed, and its fields that are marked."""
    marked: list[str] = []
    count = 0

    def fill(field: re.Match[str]) -> str:
        nonlocal count
        text = _text(field[1], int(field[2] or 1), f"{seed}/{count}")
        count += 1
        if field[3]:
            marked.append(text)
        return text

    return _FIELD.sub(fill, template), tuple(marked)


def _text(kind: str, size: int, seed: str) -> str:
    if kind == "uuid":
        digits = _drawn("hex", 32, seed)
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
    if kind == "jwt":
        claims = json.dumps({"sub": _drawn("an", 12, seed), "exp": 1_900_000_000})
        head = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        body = urlsafe_b64encode(claims.encode()).decode().rstrip("=")
        return f"{head}.{body}.{_drawn('w', 43, seed)}"
    if kind == "pem":
        lines = "\n".join(_drawn("b64", 64, f"{seed}/{line}") for line in range(6))
        edge = "PRIVATE KEY-----"
        return f"-----BEGIN {edge}\n{lines}\n-----END {edge}\n"
    return _drawn(kind, size, seed)


def _drawn(kind: str, size: int, seed: str) -> str:
    alphabet = _ALPHABETS[kind]
    drawn = shake_256(f"{kind}/{seed}".encode()).digest(2 * size)
    text = [
        alphabet[int.from_bytes(drawn[at : at + 2]) % len(alphabet)] for at in range(0, 2 * size, 2)
    ]
    # A dash or a slash at an edge would be another token's.
    inner = _ALPHABETS[_EDGE]
    for at in (0, -1) if kind in ("w", "b64") else ():
        text[at] = inner[drawn[at] % len(inner)]
    return "".join(text)


# What of a text is told: as it stands, and in every spelling that the corpus uses.

_DELTA = re.compile(rb'"(?:delta|text)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
_ESCAPE = re.compile(rb"\\u00([0-9a-fA-F]{2})")
_SHORTEST_HALF = 8


def told(interaction: Interaction) -> Iterator[bytes]:
    """All texts that a store keeps of an exchange, and those of one direction in one."""
    yield interaction.request.target
    heads = (*interaction.request.headers, *interaction.response.headers)
    yield from (value for _, value in heads)
    yield from (body.data for body in interaction.bodies)
    if isinstance(interaction, WebSocketInteraction):
        yield from (frame.reason.encode() for frame in interaction.frames)
        yield b"\n".join([frame.data.data for frame in interaction.frames])
    yield encode(interaction)


def leaks(text: bytes, secrets: tuple[str, ...]) -> bool:
    """Whether a text contains any of the secrets, or half of one."""
    needles = [needle for secret in secrets for needle in _needles(secret)]
    return any(needle in view for view in _views(text) for needle in needles)


def _needles(secret: str) -> Iterator[bytes]:
    whole = secret.replace("\n", "").encode()
    plain = secret.encode()
    yield from {whole, plain}
    half = len(plain) // 2
    if half >= _SHORTEST_HALF and "%" not in secret:
        yield plain[-half:]


def _views(text: bytes) -> Iterator[bytes]:
    yield text
    yield b"".join(_DELTA.findall(text))
    if text.startswith(b"\x1f\x8b"):
        text = gzip.decompress(text)
        yield text
    yield text.replace(b"\0", b"")
    plain = _ESCAPE.sub(lambda one: bytes.fromhex(one[1].decode()), text)
    yield plain
    yield plain.replace(b"\\n", b"").replace(b"\\", b"")
    yield unquote_to_bytes(text)
    yield unquote_to_bytes(unquote_to_bytes(text))
    for run in _RUN.findall(text):
        try:
            yield b64decode(run.translate(bytes.maketrans(b"-_", b"+/")) + b"==")
        except Error:
            continue


# The places.

Place = Callable[[str, str], Interaction]

_OK = ResponseHead(200, b"OK", ((b"Content-Type", b"application/json"),))
_JSON = b"application/json"
_FORM = b"application/x-www-form-urlencoded"


def _exchange(
    target: str = "/v1/things",
    *,
    headers: Headers = (),
    body: bytes = b"",
    kind: bytes = _JSON,
    answer: bytes = b"{}",
    answer_headers: Headers = ((b"Content-Type", b"application/json"),),
) -> HTTPInteraction:
    fields: Headers = (*headers, (b"Content-Type", kind)) if body else headers
    request = RecordedRequest(b"POST", target.encode(), fields, Body.of(body))
    return HTTPInteraction(request, ResponseHead(200, b"OK", answer_headers), Body.of(answer))


def _sent(text: str, kind: bytes = b"text/plain") -> HTTPInteraction:
    return _exchange(body=text.encode(), kind=kind)


def _as_header(name: str, value: str) -> Interaction:
    return _exchange(headers=((_header_name(name), value.encode()),))


def _as_answer_header(name: str, value: str) -> Interaction:
    return _exchange(answer_headers=((_header_name(name), value.encode()),))


def _header_name(name: str) -> bytes:
    return b"X-Note" if name == "text" else name.encode()


def _session(*frames: Frame) -> WebSocketInteraction:
    return WebSocketInteraction(RecordedRequest(b"GET", b"/socket"), frames=frames)


def _message(by: Direction, text: str) -> Frame:
    return Frame(by, FrameKind.TEXT, Body.of(text.encode()))


def _close(_name: str, value: str) -> Interaction:
    reason = f"bad token {value}"
    return _session(Frame(Direction.SERVER, FrameKind.CLOSE, close_code=4001, reason=reason))


def _pieces(value: str) -> list[str]:
    return [value[at : at + 5] for at in range(0, len(value), 5)]


def _spread_messages(_name: str, value: str) -> Interaction:
    texts = [json.dumps({"type": "delta", "delta": piece}) for piece in _pieces(value)]
    return _session(*[_message(Direction.SERVER, text) for text in texts])


def _spread_events(_name: str, value: str) -> Interaction:
    texts = [
        f"data: {json.dumps({'text': piece})}\n\n" for piece in ["The key is ", *_pieces(value)]
    ]
    return _events("".join(texts))


def _events(text: str) -> HTTPInteraction:
    kind = ((b"Content-Type", b"text/event-stream"),)
    return _exchange(answer=text.encode(), answer_headers=kind)


def _multipart(name: str, value: str) -> Interaction:
    part = f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--cut--\r\n'
    return _sent(part, b"multipart/form-data; boundary=cut")


def _answered(name: str, value: str) -> str:
    return json.dumps({"id": "obj_1", "object": "thing", name: value})


def _query(name: str, value: str) -> Interaction:
    return _exchange(f"/v1/things?page=2&{name}={_quoted(value)}")


def _quoted(value: str) -> str:
    return value if "%" in value else quote(value, safe="")


def _callback(name: str, value: str) -> str:
    return f"https://app.example.org/cb?state=ok&{name}={_quoted(value)}"


def _location(name: str, value: str) -> Interaction:
    return _exchange(answer_headers=((b"Location", _callback(name, value).encode()),))


def _fragment(name: str, value: str) -> Interaction:
    url = f"https://app.example.org/cb#state=ok&{name}={value}"
    return _exchange(answer_headers=((b"Location", url.encode()),))


def _compressed(name: str, value: str) -> Interaction:
    answer = gzip.compress(_answered(name, value).encode(), mtime=0)
    return _exchange(answer=answer, answer_headers=((b"Content-Type", b"binary/octet-stream"),))


def _in_base64(_name: str, value: str) -> Interaction:
    inner = b64encode(f"user=app token: {value} end".encode()).decode()
    return _sent(json.dumps({"message": {"data": inner}}), _JSON)


def _percent(_name: str, value: str) -> Interaction:
    spelled = "".join(
        f"%{byte:02X}" if at % 3 == 0 else chr(byte) for at, byte in enumerate(value.encode())
    )
    return _sent(f"note={spelled}")


def _escaped(_name: str, value: str) -> Interaction:
    spelled = "".join(f"\\u{ord(one):04x}" if at % 4 == 0 else one for at, one in enumerate(value))
    return _sent(f'{{"text": "{spelled}"}}', _JSON)


def _graphql(name: str, value: str) -> Interaction:
    query = f'mutation {{ login(user: "ann", {name}: "{value}") {{ ok }} }}'
    return _sent(json.dumps({"query": query}), _JSON)


def _curl(name: str, value: str) -> Interaction:
    return _sent(json.dumps({"text": f"curl -H '{name}: {value}' https://api.example.org/"}), _JSON)


def _pair(name: str, value: str) -> Interaction:
    return _sent(json.dumps({"header": [{"key": name, "value": value, "on": True}]}), _JSON)


def _cookie(name: str, value: str) -> Interaction:
    return _exchange(headers=((b"Cookie", f"theme=dark; {name}={_quoted(value)}".encode()),))


def _set_cookie(name: str, value: str) -> Interaction:
    field = f"{name}={_quoted(value)}; Path=/; HttpOnly"
    return _exchange(answer_headers=((b"Set-Cookie", field.encode()),))


def _form(name: str, value: str) -> Interaction:
    return _sent(f"grant=x&{name}={quote(value, safe='')}", _FORM)


def _utf16(name: str, value: str) -> Interaction:
    return _exchange(answer=_answered(name, value).encode("utf-16"))


def _json_in(name: str, value: str) -> str:
    return quote_from_bytes(json.dumps({"id": 7, name: value}).encode(), safe="")


PLACES: Mapping[str, Place] = {
    "header": _as_header,
    "answer-header": _as_answer_header,
    "query": _query,
    "path": lambda _, value: _exchange(f"/v1/{value}/things"),
    "webhook": lambda _, value: _exchange(value, body=b'{"text":"hello"}'),
    "nested-url": lambda name, value: _exchange(
        f"/login?next={quote(_callback(name, value), safe='')}&lang=en"
    ),
    "json-in-query": lambda name, value: _exchange(f"/v1/things?filter={_json_in(name, value)}"),
    "json-in-form": lambda name, value: _sent(f"payload={_json_in(name, value)}", _FORM),
    "location": _location,
    "fragment": _fragment,
    "cookie": _cookie,
    "set-cookie": _set_cookie,
    "userinfo": lambda _, value: _sent(f"source 'https://{value}@gems.example.org/'"),
    "url": lambda _, value: _sent(json.dumps({"url": value}), _JSON),
    "json": lambda name, value: _sent(_answered(name, value), _JSON),
    "answer-json": lambda name, value: _exchange(answer=_answered(name, value).encode()),
    "json-string": lambda name, value: _sent(
        json.dumps({"SecretString": _answered(name, value)}), _JSON
    ),
    "list": lambda name, value: _sent(json.dumps({name: ["first", value]}), _JSON),
    "pair": _pair,
    "form": _form,
    "multipart": _multipart,
    "xml": lambda name, value: _sent(
        f"<a><b>1</b><{name}>{value}</{name}></a>", b"application/xml"
    ),
    "xml-attr": lambda name, value: _sent(
        f'<bean><db user="sa" {name}="{value}" size="4"/></bean>', b"application/xml"
    ),
    "html-input": lambda name, value: _sent(
        f'<form><input type="hidden" name="{name}" value="{value}"></form>', b"text/html"
    ),
    "yaml": lambda name, value: _sent(f"app:\n  {name}: {value}\n  size: 4\n", b"text/yaml"),
    "dotenv": lambda name, value: _sent(f"MODE=dev\n{name}={value}\nLEVEL=info\n"),
    "graphql": _graphql,
    "curl": _curl,
    "text": lambda name, value: _sent(
        json.dumps({"messages": [{"content": f"use {value} for {name}"}]}), _JSON
    ),
    "sse": lambda _, value: _events(f"data: {json.dumps({'text': f'it is {value}'})}\n\n"),
    "sse-spread": _spread_events,
    "ws-client": lambda name, value: _session(
        _message(Direction.CLIENT, json.dumps({"op": 2, "d": {name: value}}))
    ),
    "ws-server": lambda name, value: _session(
        _message(Direction.SERVER, json.dumps({"op": 2, "d": {name: value}}))
    ),
    "ws-spread": _spread_messages,
    "ws-ping": lambda _, value: _session(
        Frame(Direction.CLIENT, FrameKind.PING, Body.of(value.encode()))
    ),
    "ws-close": _close,
    "utf16": _utf16,
    "gzip": _compressed,
    "base64": _in_base64,
    "percent": _percent,
    "escaped": _escaped,
}
"""What makes an exchange with a value under a name, or under none, by the place's name."""
