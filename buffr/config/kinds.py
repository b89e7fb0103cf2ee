"""Kinds of single values: how each is read, shown and described.

A kind reads the text itself, and consults YAML's type only where it matters:
``true`` is not a file name, and ``"true"`` is text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from buffr.config.parents import ParentProxy, Via
from buffr.config.schema import Kind, Refused
from buffr.config.written import Scalar, Tag
from buffr.origin import Origin
from buffr.policy.access import Network
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import host_name, host_pattern
from buffr.policy.mode import Mode
from buffr.policy.prices import Price

__all__ = [
    "ADDRESS",
    "BOOL",
    "BYPASS",
    "FILE_MODE",
    "HEADER_NAME",
    "HOST_NAME",
    "HOST_PATTERN",
    "IGNORE_PART",
    "IP_ADDRESS",
    "JSON_PATH",
    "KEY",
    "LITERAL",
    "MEMBER",
    "MODE",
    "NAME",
    "NETWORK",
    "NO_DELAY",
    "PATH",
    "PATTERN",
    "PORT",
    "PRICE",
    "ROUTE_NAME",
    "SERVER_NAME",
    "SHARE",
    "STAND_IN_NAME",
    "STATUSES",
    "TARGET",
    "VARIABLE",
    "VIA",
    "WORKERS",
    "StatusSet",
    "duration",
    "one_of",
    "size",
    "whole",
]

_ENTRY = re.compile(
    r"(?P<no>!?)(?:(?P<hundred>[1-9])xx|(?P<low>[1-9][0-9]{2})(?:-(?P<high>[1-9][0-9]{2}))?)",
    re.IGNORECASE,
)


@frozen
class StatusSet:
    """The statuses in any of ``included`` and in none of ``excluded``.

    An empty ``included`` means all statuses.
    """

    included: tuple[range, ...] = ()
    excluded: tuple[range, ...] = ()

    @classmethod
    def of(cls, *entries: str) -> StatusSet:
        """From entries like ``200``, ``2xx``, ``400-499`` and ``!429``, in any order.

        Any other entry raises ``ValueError``.
        """
        included: list[range] = []
        excluded: list[range] = []
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None:
                raise ValueError(entry)
            (excluded if match["no"] else included).append(_range(match))
        return cls(tuple(included), tuple(excluded))

    @classmethod
    def union(cls, sets: Iterable[StatusSet]) -> StatusSet:
        """Combine the sets of single entries."""
        parts = tuple(sets)
        return cls(
            tuple(one for part in parts for one in part.included),
            tuple(one for part in parts for one in part.excluded),
        )

    def __contains__(self, status: object) -> bool:
        if any(status in statuses for statuses in self.excluded):
            return False
        return not self.included or any(status in statuses for statuses in self.included)


def _range(match: re.Match[str]) -> range:
    if match["hundred"]:
        first = int(match["hundred"]) * 100
        return range(first, first + 100)
    low = int(match["low"])
    high = int(match["high"] or low)
    if high < low:
        raise ValueError(match[0])
    return range(low, high + 1)


Word = TypeVar("Word", bound=str)


def one_of(words: tuple[Word, ...]) -> Kind[Word]:
    """One of some words, spelled exactly like them."""

    def parse(scalar: Scalar) -> Word:
        for word in words:
            if scalar.text == word:
                return word
        raise Refused

    return Kind(_listed(words), parse, json={"enum": list(words)})


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


_YES = frozenset(("true", "yes", "on"))
_NO = frozenset(("false", "no", "off"))


def _parse_bool(scalar: Scalar) -> bool:
    word = scalar.text.lower()
    if scalar.tag not in {Tag.BOOL, Tag.UNTYPED}:
        raise Refused("is quoted text" if word in _YES | _NO else "")
    if word in _YES or (scalar.tag is Tag.UNTYPED and word == "1"):
        return True
    if word in _NO or (scalar.tag is Tag.UNTYPED and word == "0"):
        return False
    raise Refused


def _parse_no_delay(scalar: Scalar) -> bool:
    return scalar.text == "0"


def _parse_path(scalar: Scalar) -> Path:
    if scalar.tag not in {Tag.TEXT, Tag.UNTYPED}:
        raise Refused(f"is {scalar.tag.value} in YAML unless quoted")
    if not scalar.text or "\0" in scalar.text:
        raise Refused
    return Path(scalar.text)


# A scope (RFC 4007) is the name of an interface.
_SCOPED = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]{1,32})?")


def _parse_address(scalar: Scalar) -> str:
    text = scalar.text
    if text == "localhost":
        return text
    try:
        if _SCOPED.fullmatch(text):
            return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    raise Refused


def _parse_ip_address(scalar: Scalar) -> str:
    try:
        return str(ipaddress.ip_address(scalar.text if "%" not in scalar.text else ""))
    except ValueError:
        raise Refused from None


def _parse_network(scalar: Scalar) -> Network:
    text = scalar.text if "%" not in scalar.text else ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Refused from None
    # 10.1.2.3/8 may be meant as one address, but would admit 16 million.
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise Refused(f"is an address within {network}")
    return network


def _parse_host(parse: Callable[[str], str]) -> Callable[[Scalar], str]:
    def parsed(scalar: Scalar) -> str:
        try:
            return parse(scalar.text)
        except ValueError as error:
            raise Refused(str(error)) from None

    return parsed


def _server_name(text: str) -> str:
    name = host_name(text)
    if ":" in name or name[-1].isdigit():
        raise ValueError("is an address; a TLS hello can name hosts only")
    return name


def _bypass_entry(text: str) -> str:
    Bypass.of([text])
    return text


def _parse_via(scalar: Scalar) -> Via:
    if scalar.text == "none":
        return "none"
    try:
        return ParentProxy.parse(scalar.text)
    except ValueError as error:
        raise Refused(str(error)) from None


_KEY = re.compile(r"[!-~]{1,256}")


def _parse_key(scalar: Scalar) -> bytes:
    if not _KEY.fullmatch(scalar.text):
        raise Refused
    return scalar.text.encode("ascii")


def _parse_target(scalar: Scalar) -> Origin:
    try:
        return Origin.parse(scalar.text)
    except ValueError as error:
        raise Refused(str(error)) from None


def _show_target(target: Origin) -> str:
    return target.url


def _parse_mode(scalar: Scalar) -> Mode:
    for mode in Mode:
        if scalar.text == mode.value:
            return mode
    raise Refused


def _show_mode(mode: Mode) -> str:
    return mode.value


def _parse_statuses(scalar: Scalar) -> StatusSet:
    try:
        return StatusSet.of(scalar.text)
    except ValueError:
        raise Refused from None


_ANY_CHARACTER = re.compile(r"(?<!\\)\.[*{]")
_ANY_SCALAR = ["string", "number", "boolean"]


def _matching(pattern: str, allowed: str, *, lower: bool = False) -> Kind[str]:
    """Text that matches a pattern, taken as written whatever type YAML gives it."""
    shape = re.compile(pattern, re.DOTALL)

    def parse(scalar: Scalar) -> str:
        if not shape.fullmatch(scalar.text):
            raise Refused
        return scalar.text.lower() if lower else scalar.text

    # ECMA's dialect has no case-insensitive match, and its dot does not match line ends.
    known = {} if lower or _ANY_CHARACTER.search(pattern) else {"pattern": f"^(?:{pattern})$"}
    return Kind(allowed, parse, json={"type": _ANY_SCALAR, **known})


_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}"  # noqa: S105 - RFC 9110 5.6.2's word

BOOL = Kind(
    "true or false",
    _parse_bool,
    lambda value: str(value).lower(),
    json={"type": "boolean"},
)
NO_DELAY = Kind("0 to keep recorded delays, anything else to drop them", _parse_no_delay)
PATH = Kind("a path", _parse_path)
ADDRESS = Kind("an IP address or localhost", _parse_address)
TARGET = Kind(
    "http://HOST or https://HOST, optionally with :PORT and /BASE/PATH",
    _parse_target,
    _show_target,
    json={"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
)
IP_ADDRESS = Kind("an IP address", _parse_ip_address)
NETWORK = Kind("an IP address or a range like 10.0.0.0/8", _parse_network)
HOST_NAME = Kind("a host name or an IP address", _parse_host(host_name))
SERVER_NAME = Kind("a host name", _parse_host(_server_name))
HOST_PATTERN = Kind(
    "a host name like api.example.com, a pattern like '*.example.com', or '*'",
    _parse_host(host_pattern),
)
BYPASS = Kind(
    "a host name (which includes its subdomains), '*.example.com', an IP address, "
    "any of these with :PORT, a range like 10.0.0.0/8, or '*'",
    _parse_host(_bypass_entry),
)
VIA = Kind(
    "http(s)://[USER:PASSWORD@]HOST[:PORT], or none",
    _parse_via,
    secret=True,
    json={"type": "string", "pattern": "^(none$|[Hh][Tt][Tt][Pp][Ss]?://)"},
)
KEY = Kind(
    "1 to 256 visible ASCII characters",
    _parse_key,
    secret=True,
    json={"type": _ANY_SCALAR, "pattern": "^[!-~]{1,256}$"},
)
MODE = Kind(
    _listed(tuple(mode.value for mode in Mode)),
    _parse_mode,
    _show_mode,
    json={"enum": [mode.value for mode in Mode]},
)
STATUSES = Kind(
    "a status like 200, 2xx, 400-499 or '!429'",
    _parse_statuses,
    json={
        "type": ["integer", "string"],
        "minimum": 100,
        "maximum": 999,
        "pattern": "^!?([1-9][Xx]{2}|[1-9][0-9]{2}(-[1-9][0-9]{2})?)$",
    },
)
NAME = _matching(r".{1,256}", "a name of 1 to 256 characters")
ROUTE_NAME = _matching(
    r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,64}",
    "a name of 1 to 64 letters, digits and . _ ~ -, as it appears in paths",
)
LITERAL = _matching(r".*", "text")
HEADER_NAME = _matching(_TOKEN, "a header name", lower=True)
JSON_PATH = _matching(r"\$.{0,1023}", "a JSONPath, which starts with $")
MEMBER = _matching(r".{1,1024}", "the name of a JSON member, or a JSONPath, which starts with $")
STAND_IN_NAME = _matching(
    "[a-z0-9]+(?:-[a-z0-9]+)*", "the name, the digest, or name-digest of a stand-in"
)
VARIABLE = _matching(
    "(?:[A-Za-z_][A-Za-z0-9_]*)?",
    "the name of an environment variable, or '' to send the stand-in itself",
)
PATTERN = _matching(r".{1,4096}", "a pattern in RE2 syntax, of 1 to 4096 characters")
IGNORE_PART = _matching(
    rf"request\.(?:body|path|query|header\.{_TOKEN})|websocket\.frame",
    "request.body, request.path, request.query, request.header.NAME or websocket.frame",
    lower=True,
)


# 18 digits: they fit into 64 bits.
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_PLAIN_DECIMAL = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"
_DECIMAL = f"(?P<number>{_PLAIN_DECIMAL})"
_DURATION = re.compile(_DECIMAL + r" ?(?P<unit>ms|s|m|h|d|)")
_SIZE = re.compile(_DECIMAL + r" ?(?P<unit>[kmgt]i?b|b|)", re.IGNORECASE)

_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_S = 3650 * 86400.0
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_LARGEST_BYTES = 2**40


def whole(minimum: int, maximum: int, *, besides: str = "") -> Kind[int]:
    """A whole number between two inclusive bounds."""

    def parse(scalar: Scalar) -> int:
        if not _WHOLE.fullmatch(scalar.text) or not minimum <= int(scalar.text) <= maximum:
            raise Refused
        return int(scalar.text)

    json = {
        "type": ["integer", "string"],
        "minimum": minimum,
        "maximum": maximum,
        "pattern": f"^({_WHOLE.pattern})$",
    }
    return Kind(f"a whole number from {minimum} to {maximum}{besides}", parse, json=json)


_MOST_WORKERS = 256


def _parse_workers(scalar: Scalar) -> int:
    if scalar.text == "auto":
        return 0
    if not _WHOLE.fullmatch(scalar.text) or not 1 <= int(scalar.text) <= _MOST_WORKERS:
        raise Refused
    return int(scalar.text)


WORKERS = Kind(
    f"a number from 1 to {_MOST_WORKERS}, or auto",
    _parse_workers,
    lambda count: str(count or "auto"),
    json={"type": ["integer", "string"], "minimum": 1, "maximum": _MOST_WORKERS},
)
"""A number of processes; 0 is one for each core."""


def size(minimum: int = 0, maximum: int = _LARGEST_BYTES) -> Kind[int]:
    """A size in bytes."""

    def parse(scalar: Scalar) -> int:
        match = _SIZE.fullmatch(scalar.text)
        if match is None:
            raise Refused
        size_bytes = float(match["number"]) * _BYTES[match["unit"].lower()]
        if not size_bytes.is_integer() or not minimum <= size_bytes <= maximum:
            raise Refused
        return int(size_bytes)

    allowed = f"from {_show_size(minimum)} to {_show_size(maximum)}"
    json = {
        "type": ["integer", "string"],
        "minimum": minimum,
        "maximum": maximum,
        "pattern": rf"^{_PLAIN_DECIMAL} ?([KkMmGgTt][Ii]?[Bb]|[Bb]|)$",
    }
    text = f"a number of bytes, or a size like 64KiB, 1MiB, 10MB, {allowed}"
    return Kind(text, parse, _show_size, json=json)


def _show_size(size_bytes: int) -> str:
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def duration(*, zero: str = "") -> Kind[float]:
    """A time in seconds. ``zero`` describes the meaning of 0; without it, 0 is refused."""

    def parse(scalar: Scalar) -> float:
        match = _DURATION.fullmatch(scalar.text)
        if match is None:
            raise Refused
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
        if seconds > _LONGEST_S or (seconds == 0 and not zero):
            raise Refused
        return seconds

    least = f"0 ({zero})" if zero else "more than 0"
    allowed = f"seconds, or a time like 500ms, 30s, 10m, 12h, 30d, {least}, up to 3650d"
    json = {
        "type": ["number", "string"],
        "maximum": _LONGEST_S,
        "pattern": rf"^{_PLAIN_DECIMAL} ?(ms|s|m|h|d|)$",
        **({"minimum": 0} if zero else {"exclusiveMinimum": 0}),
    }
    return Kind(allowed, parse, _show_duration, json=json)


def _show_duration(seconds: float) -> str:
    return f"{seconds:g}s"


_OCTAL = re.compile(r"(?:0o?)?([0-7]{3})")


def _parse_file_mode(scalar: Scalar) -> int:
    match = _OCTAL.fullmatch(scalar.text)
    bits = int(match[1], 8) if match else 0
    if bits & 0o600 != 0o600 or bits & ~0o666:
        raise Refused
    return bits


def _show_file_mode(bits: int) -> str:
    return f"{bits:04o}"


_PERCENT = re.compile(r"(100|[1-9]?[0-9](?:\.[0-9]{1,3})?) ?%")


def _parse_share(scalar: Scalar) -> float:
    match = _PERCENT.fullmatch(scalar.text)
    if match is None:
        raise Refused
    return float(match[1]) / 100


def _show_share(share: float) -> str:
    return f"{100 * share:g}%"


SHARE = Kind(
    "a percentage like 5%, from 0% to 100%",
    _parse_share,
    _show_share,
    json={"type": "string", "pattern": f"^{_PERCENT.pattern}$"},
)
_PRICE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([0-9]+(?:\.[0-9]+)?)(?:/([0-9]+(?:\.[0-9]+)?))?")


def _parse_price(scalar: Scalar) -> Price:
    match = _PRICE.fullmatch(scalar.text)
    if match is None:
        raise Refused
    cached = None if match[3] is None else float(match[3])
    return Price(float(match[1]), float(match[2]), cached)


def _show_price(price: Price) -> str:
    shown = f"{price.input:g}/{price.output:g}"
    return shown if price.cached is None else f"{shown}/{price.cached:g}"


PRICE = Kind(
    "INPUT/OUTPUT or INPUT/OUTPUT/CACHED, in US dollars for a million tokens",
    _parse_price,
    _show_price,
    json={"type": "string", "pattern": f"^({_PRICE.pattern})$"},
)
PORT = whole(0, 65535, besides=" (0 takes a free port)")
FILE_MODE = Kind(
    "three octal digits like 0600, readable and writable for the owner, executable for nobody",
    _parse_file_mode,
    _show_file_mode,
    # YAML 1.1 reads 0600 as octal, YAML 1.2 as decimal.
    json={"type": ["integer", "string"], "pattern": "^(0o?)?[0-7]{3}$"},
)
