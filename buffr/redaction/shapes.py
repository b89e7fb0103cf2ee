"""Tokens that are recognised by their own shape: a prefix that their issuers chose for that."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import re2
from attrs import frozen

from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.screen import boundless, compiled
from buffr.redaction.searches import Search
from buffr.redaction.spans import SecretSpan
from buffr.redaction.vendors import TELLING_INFIX, VENDORS, starts

__all__ = ["PROBE", "Shapes", "TokenShape"]

_UNBROKEN_RUN = re.compile(rb"[A-Za-z0-9]{12,}")
_LONG_RUN = re.compile(rb"[A-Za-z0-9_]{16,}")

# What may be right before a token: the end of an escape, or a character that is not in tokens.
_FREE_BEFORE = r"(?:\A|[^A-Za-z0-9_+-]|\\[bfnrt]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})"
_FREE = re.compile(_FREE_BEFORE.encode() + rb"\Z")
_BEFORE_BYTES = 6
_MOST_BEFORE = 128
_MOST_BEHIND = 1024
_PUBLIC = frozenset((b"pk", b"pub", b"cs", b"bps", b"acct", b"whsec"))


def _has_digit_and_letter(value: bytes) -> bool:
    return any(b"0"[0] <= c <= b"9"[0] for c in value) and value.upper() != value.lower()


def _has_random_run(value: bytes) -> bool:
    """``sk-`` also begins slugs: words between dashes."""
    return any(_has_digit_and_letter(run) for run in _LONG_RUN.findall(value))


def _is_jwt(value: bytes) -> bool:
    header = value.partition(b".")[0]
    try:
        return b'"alg"' in urlsafe_b64decode(header + b"=" * (-len(header) % 4))
    except (Error, ValueError):
        return False


def _is_no_public_token(value: bytes) -> bool:
    """A publishable key is public, and a checkout's id is only an id (Stripe has both)."""
    return value.partition(b"_")[0] not in _PUBLIC and any(
        _has_digit_and_letter(run) for run in _UNBROKEN_RUN.findall(value)
    )


def _always(_value: bytes) -> bool:
    return True


@frozen(eq=False)
class TokenShape:
    """``pattern`` is RE2 for the token, or for its context with the token in the first group.

    ``check`` verifies the token. ``anywhere``: it may also be in the middle of
    a word. ``counted``: match keys include its pseudonym.
    """

    name: str
    pattern: str
    check: Callable[[bytes], bool] = _always
    anywhere: bool = False
    counted: bool = False


_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s:,.()]|\\+[nr]|-[A-Za-z0-9 ])*"
    r"(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?"
)

WELL_KNOWN = (
    TokenShape("anthropic-key", r"sk-ant-[A-Za-z0-9_-]{16,}"),
    TokenShape("openai-key", r"sk-[A-Za-z0-9_-]{20,}", _has_random_run),
    TokenShape("aws-access-key-id", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    TokenShape(
        "aws-secret-key",
        r"(?i)aws[a-z0-9_. -]{0,20}(?:secret|private)[a-z0-9_. -]{0,20}"
        r"""["']?\s{0,8}[:=]\s{0,8}["']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|$)""",
        _has_digit_and_letter,
        anywhere=True,
    ),
    TokenShape("github-token", r"gh[pousr]_[A-Za-z0-9_.-]{36,}|github_pat_[A-Za-z0-9_]{22,}"),
    TokenShape(
        "gitlab-token",
        r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[A-Za-z0-9_.-]{20,}",
    ),
    TokenShape("google-api-key", r"AIza[A-Za-z0-9_-]{35}"),
    TokenShape("google-token", r"ya29\.[A-Za-z0-9_-]{20,}|1//0[A-Za-z0-9_-]{30,}"),
    TokenShape("google-client-key", r"GOCSPX-[A-Za-z0-9_-]{20,}"),
    TokenShape(
        "slack-token",
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}",
        _has_digit_and_letter,
    ),
    TokenShape(
        "slack-webhook",
        r"hooks\.slack\.com/[a-z]+/T[A-Za-z0-9]+/[A-Za-z0-9]+/([A-Za-z0-9/]{16,})",
        anywhere=True,
    ),
    TokenShape("stripe-key", r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{20,}"),
    TokenShape("huggingface-token", r"hf_[A-Za-z0-9]{30,}"),
    TokenShape("groq-key", r"gsk_[A-Za-z0-9]{30,}"),
    TokenShape("perplexity-key", r"pplx-[A-Za-z0-9]{32,}"),
    TokenShape("xai-key", r"xai-[A-Za-z0-9]{40,}"),
    TokenShape("replicate-token", r"r8_[A-Za-z0-9]{30,}"),
    TokenShape("ephemeral-key", r"ek_[A-Za-z0-9_]{20,}", _has_digit_and_letter),
    TokenShape("npm-token", r"npm_[A-Za-z0-9]{36}\b"),
    TokenShape("pypi-token", r"pypi-[A-Za-z0-9_-]{50,}"),
    TokenShape("sendgrid-key", r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}"),
    TokenShape("digitalocean-token", r"do[opr]_v1_[a-f0-9]{64}"),
    TokenShape("shopify-token", r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"),
    TokenShape("telegram-token", r"(?:bot)?([0-9]{8,10}:AA[A-Za-z0-9_-]{33})"),
    TokenShape("linear-key", r"lin_api_[A-Za-z0-9]{32,}"),
    TokenShape("notion-token", r"ntn_[A-Za-z0-9]{40,}"),
    TokenShape("databricks-token", r"dapi[a-f0-9]{32}\b"),
    TokenShape("vault-token", r"hv[sbr]\.[A-Za-z0-9_-]{20,}"),
    TokenShape("grafana-token", r"gl(?:sa|c)_[A-Za-z0-9_=]{32,}"),
    TokenShape("atlassian-token", r"ATATT3[A-Za-z0-9_=-]{50,}"),
    TokenShape("age-key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    TokenShape("azure-key", r"AccountKey=([A-Za-z0-9+/]{60,}={0,2})", anywhere=True),
    TokenShape("jwt", r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}", _is_jwt),
    TokenShape("private-key", _PEM, anywhere=True),
    TokenShape(
        "authorization",
        r"(?i)\b(?:bearer|basic)(?:\s|%20|\+)+([A-Za-z0-9._~+/=-]{16,})",
        _has_digit_and_letter,
    ),
)


def _webhook(name: str, pattern: str) -> TokenShape:
    return TokenShape(
        f"{name}-webhook", pattern, _has_digit_and_letter, anywhere=True, counted=True
    )


WEBHOOKS = (
    _webhook(
        "slack", r"/(?:services|workflows|triggers)/T[A-Z0-9]{6,}/[A-Z0-9]{6,}/([A-Za-z0-9/]{16,})"
    ),
    _webhook("discord", r"/api(?:/v[0-9]+)?/webhooks/[0-9]{15,20}/([A-Za-z0-9_-]{50,})"),
    _webhook("teams", r"/webhookb?2?/[0-9a-f@-]{60,}/IncomingWebhook/([0-9a-f]{32}/[0-9a-f-]{36})"),
    _webhook("mattermost", r"/hooks/([a-z0-9]{26})(?:[/?\s\"'<]|$)"),
    TokenShape(
        "zapier-webhook",
        r"/hooks/(?:catch|standard)/[0-9]+/([A-Za-z0-9/]{6,})",
        anywhere=True,
        counted=True,
    ),
    _webhook("ifttt", r"/trigger/[^/\s]{1,100}/(?:json/)?with/key/([A-Za-z0-9_-]{16,})"),
    _webhook("pagerduty", r"/integration/([A-Za-z0-9]{20,32})/enqueue"),
    _webhook("opsgenie", r"/v1/json/([A-Za-z0-9-]{30,})"),
    _webhook("rocket-chat", r"/hooks/[A-Za-z0-9]{17}/([A-Za-z0-9]{40,})"),
    _webhook("home-assistant", r"/api/webhook/([A-Za-z0-9_-]{20,})"),
    _webhook("webex", r"/v1/webhooks/incoming/([A-Za-z0-9_-]{40,})"),
    _webhook("google-chat", r"/v1/spaces/[A-Za-z0-9_-]+/messages\?key=([A-Za-z0-9_-]{20,})"),
    _webhook("make", r"hook\.[a-z0-9.]{2,20}make\.com/([a-z0-9]{20,})"),
    _webhook("tines", r"/webhook/[a-z0-9]{32}/([a-z0-9]{32})"),
    _webhook("pipedream", r"([a-z0-9]{14,20})\.m\.pipedream\.net"),
)
"""Addresses that are credentials, since knowing one is enough to post there."""

TOKENS = (
    TokenShape("api-token", "|".join(VENDORS), _has_digit_and_letter, counted=True),
    TokenShape("service-token", TELLING_INFIX, _is_no_public_token, counted=True),
)
"""Tokens of many services, each with a prefix of its own."""

_STARTS = "|".join(starts())

PROBE = b"-----BEGIN PRIVATE KEY-----"
"""A text with a secret, whatever the settings are."""


def _check(pattern: str) -> None:
    try:
        compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else "no pattern"
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise ValueError(f"patterns: {pattern!r}: {said}") from error


def _within(pattern: Any, text: bytes, start: int, end: int) -> list[Any]:
    """The matches from ``start`` on that begin before ``end``, however long they are."""
    while True:
        found = list(pattern.finditer(text, start, end))
        if end == len(text) or not found or found[-1].end() < end:
            return found
        end = min(len(text), end + end - start)


class Shapes:
    """``searches`` find tokens: those of a well-known shape, and what settings' patterns match.

    Raises ``ValueError`` for a pattern that is not valid RE2.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        own = tuple(TokenShape("pattern", pattern, anywhere=True) for pattern in patterns)
        for shape in own:
            _check(shape.pattern)
        self.searches = (
            *(Search(_shown(shape), partial(_find, shape)) for shape in WELL_KNOWN),
            *(Search(shape.pattern, partial(_find, shape)) for shape in own),
            *(Search(_shown(shape), partial(_find, shape)) for shape in WEBHOOKS),
            *(
                Search(shown, partial(_find_token, shape))
                for shape, shown in zip(TOKENS, starts(_FREE_BEFORE), strict=True)
            ),
        )
        # Compiling these takes milliseconds, which a request must not wait for.
        for large in (_STARTS, *(shape.pattern for shape in TOKENS)):
            compiled(large)


def _shown(shape: TokenShape) -> str:
    pattern = boundless(shape.pattern)
    return pattern if shape.anywhere else f"{_FREE_BEFORE}(?:{pattern})"


def _find(shape: TokenShape, text: bytes) -> Iterator[SecretSpan]:
    pattern = compiled(shape.pattern)
    return _checked(shape, pattern, text, pattern.finditer(text))


def _find_token(shape: TokenShape, text: bytes) -> Iterator[SecretSpan]:
    pattern = compiled(shape.pattern)
    for start, end in _windows(text):
        yield from _checked(shape, pattern, text, _within(pattern, text, start, end))


def _checked(
    shape: TokenShape, pattern: Any, text: bytes, matches: Iterable[Any]
) -> Iterator[SecretSpan]:
    for match in matches:
        start, end = match.span(1 if pattern.groups else 0)
        token = text[start:end]
        if start < 0 or start == end or is_pseudonym(token):
            continue
        before = text[max(0, match.start() - _BEFORE_BYTES) : match.start()]
        if (shape.anywhere or _FREE.search(before)) and shape.check(token):
            name, counted = shape.name.encode(), shape.counted
            yield SecretSpan(start, end, name, token, shape.name, counted=counted)


def _windows(text: bytes) -> list[tuple[int, int]]:
    """Where tokens may be: their patterns take a microsecond a byte, their beginnings less."""
    windows: list[tuple[int, int]] = []
    for found in compiled(_STARTS).finditer(text):
        start, end = max(0, found.start() - _MOST_BEFORE), found.end() + _MOST_BEHIND
        if windows and start <= windows[-1][1]:
            start = windows.pop()[0]
        windows.append((start, min(end, len(text))))
    return windows
