"""Detectors beside redaction's: of values that look random, and the rules of detect-secrets.

They are wider than the redactor, which must not spoil data, and are asked
about candidates alone.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from math import log2
from typing import Any

from attrs import field, frozen

from buffr.commands.cassette.candidates import Candidate
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.randomness import looks_made_up
from buffr.redaction.vocabulary import Sense, is_never, sense_of

__all__ = [
    "ENTROPY",
    "LIBRARY",
    "PREFIX",
    "Detected",
    "Library",
    "by_entropy",
    "by_prefix",
    "library",
]

PREFIX, ENTROPY, LIBRARY = "prefix", "entropy", "detect-secrets"

# From the makers' documentation: what their keys begin with, where redaction and
# detect-secrets do not know it.
_PREFIXES = re.compile(
    rb"NRAK-[A-Z0-9]{27}|NRJS-[a-f0-9]{19}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|figd_[A-Za-z0-9_-]{30,}"
    rb"|shippo_(?:live|test)_[a-f0-9]{40}|rubygems_[a-f0-9]{48}|pul-[a-f0-9]{40}"
    rb"|sntry[su]_[A-Za-z0-9+/=_-]{40,}|tfp_[A-Za-z0-9_.-]{40,}|dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,}"
    rb"|pat-(?:na|eu|ap)[0-9]-[a-f0-9-]{36}|pat[A-Za-z0-9]{14}\.[a-f0-9]{64}|HRKU-[A-Za-z0-9_-]{30,}"
    rb"|key-[a-z0-9]{32}|dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{40,}|EZ[AT]K[A-Za-z0-9]{54}"
    rb"|tskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{20,}|p8e-[A-Za-z0-9]{32}|LTAI[A-Za-z0-9]{16,24}"
    rb"|ATBB[A-Za-z0-9]{32}|ATCTT3[A-Za-z0-9_=-]{50,}|pscale_(?:pw|tkn|oauth)_[A-Za-z0-9_.=-]{32,}"
    rb"|fm[12]_[A-Za-z0-9+/=_]{40,}|fo1_[A-Za-z0-9_-]{43}|sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,}"
    rb"|nfp_[A-Za-z0-9]{36,}|vcp_[A-Za-z0-9]{24,}|duffel_(?:live|test)_[A-Za-z0-9_=-]{43}"
    rb"|pk_[A-Za-z0-9]{0,10}_?secret_[A-Za-z0-9]{20,}|fw_[A-Za-z0-9]{24,}|csk-[a-z0-9]{40,}"
    rb"|nvapi-[A-Za-z0-9_-]{40,}|tvly-[A-Za-z0-9_-]{30,}|e2b_[a-f0-9]{40}|lsv2_(?:pt|sk)_[a-f0-9_]{40,}"
    rb"|phx_[A-Za-z0-9]{40,}|rnd_[A-Za-z0-9]{28,}|re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}|eyJrIjoi[A-Za-z0-9=]{60,}"
)

_SHORTEST, _LONGEST = 20, 200
_LONGEST_RULES = 512

_IDS = re.compile(
    rb"(?:.*[-_. ])?(?:ids?|uuids?|guids?|hash(?:es)?|sha-?\d*|md5|etag|integrity|cursor"
    rb"|nonce|boundary|file|filename|path|uri|image|thumbnail|src|version|revision|commit|ref"
    rb"|model|build|checksum|digest|data|blob|embedding|content|ciphertext|created|modified"
    rb"|signature|page|offset|next|previous|prev|href|slug|handle|fingerprint)",
    re.IGNORECASE,
)
_CAMEL = re.compile(rb"(?<=[a-z0-9])(?=[A-Z])")
_UUID = re.compile(rb"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_TWILIO_ID = re.compile(rb"[A-Z]{2}[0-9a-f]{32}")
_HEX = re.compile(rb"(?:0x)?[0-9a-f:-]+|[0-9A-F:-]+")
_PREFIXED = re.compile(rb"[a-z]{2,16}[_-](?=[A-Za-z0-9]{8})")
_TELLING_PREFIX = re.compile(rb"(?:.*[_-])?(?:sk|key|secret|token|live|test|pat|api|priv)[_-]")
_STAND_IN = b"REDACTED"
# gzip, zstd, PNG, JPEG, GIF, ZIP, PDF, Ogg and RIFF in base64.
_MEDIA = (b"H4sI", b"KLUv", b"iVBOR", b"/9j/", b"R0lGOD", b"UEsDB", b"JVBER", b"T2dnU", b"UklGR")
_PIECES = re.compile(rb"[^/.:@~]+")
_RUNS = re.compile(rb"[A-Za-z0-9]+")
_WORDS = re.compile(rb"[A-Z]?[a-z]{3,}|[A-Z]{3,}|[0-9]{4,}")
_RANDOM_BASE64 = frozenset((40, 43, 44, 64, 86, 88))


@frozen
class Detected:
    """A detector's finding in a candidate: the secret, and its presumed kind."""

    detector: str
    shape: str
    secret: bytes


def by_prefix(candidate: Candidate) -> Iterator[Detected]:
    """The secret in a candidate that begins like its vendor's keys."""
    found = _PREFIXES.search(candidate.token)
    if found is not None and not is_never(candidate.name):
        before = candidate.token[: found.start()]
        if not before or not before[-1:].isalnum():
            yield Detected(PREFIX, "vendor-key", found[0])


def by_entropy(candidate: Candidate) -> Iterator[Detected]:
    """The secrets in a candidate that look random, under a name that may have any."""
    if _is_id(candidate.name):
        return
    token = candidate.token
    telling = len(token) <= _LONGEST and sense_of(candidate.name) is Sense.CREDENTIAL
    if telling and _STAND_IN not in token and not is_pseudonym(token) and looks_made_up(token):
        yield Detected(ENTROPY, "name", token)
        return
    for secret in _random_parts(candidate.token):
        yield Detected(ENTROPY, "entropy", secret)


@lru_cache(maxsize=4096)
def _is_id(name: bytes) -> bool:
    """Whether values with this name are random, but not secret."""
    spaced = _CAMEL.sub(b"_", name)
    return is_never(name) or _IDS.fullmatch(spaced) is not None


@lru_cache(maxsize=65536)
def _random_parts(token: bytes) -> tuple[bytes, ...]:
    if is_pseudonym(token) or _STAND_IN in token or len(token) > _LONGEST_RULES:
        return ()
    if token.startswith(_MEDIA):
        return ()
    if b"/" in token and len(token) in _RANDOM_BASE64 and b"." not in token:
        return (token,) if _is_random_base64(token) else ()
    return tuple(part for part in _PIECES.findall(token) if looks_like_key(part))


def looks_like_key(part: bytes) -> bool:
    """Whether a run without separators of paths is random text: neither an id nor a digest."""
    bare = part.strip(b"=-_")
    if not _SHORTEST <= len(bare) <= _LONGEST or _UUID.fullmatch(bare) or _HEX.fullmatch(bare):
        return False
    if _TWILIO_ID.fullmatch(bare):
        return False
    prefix = _PREFIXED.match(bare)
    if prefix is not None and not _TELLING_PREFIX.match(bare):
        return False  # such as "chatcmpl-" and "cus_": the prefix says of what it is the id
    run = max(_RUNS.findall(bare), key=len)
    return _is_random_run(run) and not _is_encoded_text(bare)


def _is_random_run(run: bytes) -> bool:
    """Whether letters and digits change as in random text, not as in names."""
    has_digit = any(b"0"[0] <= c <= b"9"[0] for c in run)
    if not has_digit or run.isdigit() or _HEX.fullmatch(run):
        return False
    if run != run.lower() and run != run.upper():
        in_words = sum(map(len, _WORDS.findall(run)))
        if in_words > 0.5 * len(run):
            return False
        return len(run) >= 16 and _changes(run) >= 0.35 * len(run) and _bits(run) >= 3.4
    return len(run) >= 28 and _changes(run) >= 0.25 * len(run) and _bits(run) >= 3.7


def _is_random_base64(token: bytes) -> bool:
    bare = token.rstrip(b"=")
    return (
        bare != bare.lower()
        and bare != bare.upper()
        and _changes(bare) >= 0.4 * len(bare)
        and _bits(bare) >= 4.2
        and not bare.startswith(b"/")
        and not _is_encoded_text(token)
    )


def _class(byte: int) -> int:
    if byte >= b"a"[0]:
        return 1
    return 2 if byte >= b"A"[0] else 3


def _changes(run: bytes) -> int:
    """How often a run goes from lower to upper case, to digits, and back."""
    classes = [_class(byte) for byte in run]
    return sum(one != other for one, other in pairwise(classes))


def _bits(run: bytes) -> float:
    """The Shannon entropy of a run, in bits per byte."""
    size = len(run)
    shares = [run.count(byte) / size for byte in set(run)]
    return -sum(share * log2(share) for share in shares)


def _is_encoded_text(token: bytes) -> bool:
    """Whether it is base64 of a text, such as a cursor: what is in it is looked for elsewhere."""
    bare = token.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
    with suppress(Error, ValueError):
        plain = urlsafe_b64decode(bare[: len(bare) // 4 * 4])
        printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in plain)
        return printable >= 0.9 * len(plain)
    return False


@frozen(eq=False)
class Library:
    """The rules of detect-secrets, without its files, settings and git."""

    _plugins: Sequence[Any]
    _known: dict[tuple[bytes, bytes], tuple[Detected, ...]] = field(init=False, factory=dict)

    def __call__(self, candidate: Candidate) -> Iterator[Detected]:
        """The rules' findings in a candidate."""
        key = (candidate.name, candidate.token)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= 65536:
                self._known.clear()
            found = self._known[key] = tuple(self._detected(candidate))
        return iter(found)

    def _detected(self, candidate: Candidate) -> Iterator[Detected]:
        token = candidate.token
        if is_pseudonym(token) or _STAND_IN in token or len(token) > _LONGEST_RULES:
            return
        if is_never(candidate.name):
            return
        name = candidate.name.decode("latin-1")
        text = f'{name} = "{token.decode("latin-1")}"'
        for plugin in self._plugins:
            for secret in plugin.analyze_string(text):
                raw = secret.encode("latin-1")
                whole = raw if len(raw) >= 8 else token  # some tell only a prefix
                if not _is_account(whole):
                    kind = re.sub(r"[^a-z0-9]+", "-", plugin.secret_type.lower()).strip("-")
                    yield Detected(LIBRARY, kind, whole)
                    return


def _is_account(token: bytes) -> bool:
    """Twilio's account ids are public, and in each of its URLs."""
    return re.match(rb"AC[a-z0-9]{32}", token) is not None


_NOT_USED = frozenset(
    (
        "KeywordDetector",  # finds words in source code; names are judged by redaction
        "Base64HighEntropyString",  # the entropy detector knows recordings better
        "HexHighEntropyString",
        "IPPublicDetector",
    )
)


def library() -> Library | None:
    """The rules of detect-secrets; ``None`` if it is not installed."""
    try:
        from detect_secrets.core.plugins.util import (  # noqa: PLC0415  # it takes 0.3 s
            get_mapping_from_secret_type_to_class,
        )
    except ImportError:
        return None
    plugins: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    return Library([kind() for kind in plugins if kind.__name__ not in _NOT_USED])
