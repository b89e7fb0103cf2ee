"""Shapes of vendors' tokens, from well-maintained secret scanners.

Match keys include their pseudonyms: their prefixes are shorter than those in
``shapes``, and two different tokens never make one request.
"""

from __future__ import annotations

import re

__all__ = ["KINDS", "TELLING_INFIX", "VENDORS", "starts"]

_MANY = re.compile(r"\{([0-9]+)(?:,[0-9]*)?\}")
_ANY_START = re.compile(r"\[[A-Za-z0-9_~.-]{9,}\](?:\{[0-9]+\})?")
_CHOICE = re.compile(r"^[^(]*\|")
_ENOUGH = 8
# Their prefixes are also those of words, or of hexadecimal digits.
_LATER = {
    "_[A-Za-z0-9]{29}_mmk": "_mmk",
    "[MNO]": r"\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{8}",
    "4b1d": r"(?:\b|\\[bfnrt]|%[0-9A-Fa-f]{2})4b1d[A-Za-z0-9]{8}",
}

KINDS = "live|test|prod|sandbox|pat|oat|aat|sat|uat|tkn|token|secret|api|auth|oauth|pw"
"""Words in tokens after the name of their service."""

TELLING_INFIX = (
    # After an equals sign comes the value of a parameter with this name.
    rf"[A-Za-z][A-Za-z0-9]{{1,15}}[_-](?:{KINDS})[_-][A-Za-z0-9_-]{{14,}}={{0,2}}"
    r"|live_[A-Za-z0-9_=-]{35,}"
)
"""``acme_live_…``, ``acme_pat_…``: the service's name, a kind of token, and random text."""

VENDORS = (
    r"A3-[A-Z0-9]{6}-[A-Z0-9]{6,11}-[A-Z0-9]{5}-[A-Z0-9-]{11,17}",
    r"ops_eyJ[A-Za-z0-9+/]{100,}={0,3}",
    r"p8e-[A-Za-z0-9]{32}",
    r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    r"LTAI[A-Za-z0-9]{17,21}\b",
    r"AKCp[A-Za-z0-9]{40,}",
    r"cmVmd[A-Za-z0-9]{59}",
    r"(?:sc|ext|scauth|authress)_[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][A-Za-z0-9.+/_=-]{40,}",
    r"ABSK[A-Za-z0-9+/]{100,}={0,2}",
    r"bedrock-api-key-[A-Za-z0-9+/=]{40,}",
    r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    r"4b1d[A-Za-z0-9]{38}\b",
    r"CLOJARS_[A-Za-z0-9]{60}",
    r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}",
    r"dnkey-[A-Za-z0-9_=-]{26}-[A-Za-z0-9_=-]{52}",
    r"dp\.(?:ct|pt|st|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    r"sl\.[A-Za-z0-9_=-]{100,}",
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    r"EZ[AT]K[A-Za-z0-9]{54}",
    r"EAA[A-Za-z][A-Za-z0-9]{80,}",
    r"EAAA[A-Za-z0-9_-]{22,}",
    r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,32}(?:-X)?",
    r"fo1_[A-Za-z0-9_-]{43}|fm[0-9][a-z]?_[A-Za-z0-9+/]{100,}={0,3}",
    r"fio-u-[A-Za-z0-9_=-]{64}",
    r"GR1348941[A-Za-z0-9_-]{20,}",
    r"eyJrIjoi[A-Za-z0-9+/]{70,}={0,3}",
    r"[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
    r"HRKU-AA[A-Za-z0-9_-]{58}",
    r"key-[a-f0-9]{32}\b",
    r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk",
    r"NR(?:AK|II|IQ|BR|JS|RA|SP)-[A-Za-z0-9_-]{19,}",
    r"sha256~[A-Za-z0-9_-]{43}",
    r"PMAK-[A-Za-z0-9-]{50,}",
    r"pnu_[A-Za-z0-9]{36}",
    r"pul-[a-f0-9]{40}",
    r"rdme_[a-z0-9]{70}",
    r"rubygems_[a-f0-9]{48}",
    r"tk-us-[A-Za-z0-9_-]{48}",
    r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    r"sntry[su]_[A-Za-z0-9+/=_-]{40,}",
    r"sgp_(?:[A-Fa-f0-9]{16}_|local_)?[A-Fa-f0-9]{40}",
    r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,50}",
    r"SK[a-f0-9]{32}\b",
    r"tfp_[A-Za-z0-9_.=-]{40,}",
    r"t1\.[A-Za-z0-9_-]+={0,2}\.[A-Za-z0-9_-]{86}={0,2}",
    r"AQVN[A-Za-z0-9_-]{35,38}",
    r"ATBB[A-Za-z0-9_=.-]{20,}|ATCTT3[A-Za-z0-9_=-]{50,}",
    r"CCIPAT_[A-Za-z0-9]{22}_[A-Fa-f0-9]{40}",
    r"fig[dup][a-z]?_[A-Za-z0-9_=-]{40,}",
    r"1000\.[a-f0-9]{32}\.[a-f0-9]{32}",
    r"3MVG9[A-Za-z0-9._+/=]{80,}",
    r"BBDC-[A-Za-z0-9+/@_-]{40,50}",
    r"CFPAT-[A-Za-z0-9_-]{43}",
    r"NF-[A-Za-z0-9]{32}\b",
    r"VF\.(?:(?:DM|WS)\.)?[A-Fa-f0-9]{24}\.[A-Za-z0-9]{16}",
    r"aio_[A-Za-z0-9]{28}",
    r"dckr_[po]at_[A-Za-z0-9_-]{27,32}",
    r"bkua_[a-z0-9]{40}",
    r"cf[au]?[kt]_[A-Za-z0-9]{40}[a-f0-9]{8}",
    r"vc[piark]_[A-Za-z0-9]{20,60}",
    r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
    r"API-[A-Z0-9]{26}\b",
    r"phx_[A-Za-z0-9]{40,}",
)
"""RE2 patterns of whole tokens."""


def starts(before: str = "") -> tuple[str, str]:
    """Shorter patterns that match wherever one of ``VENDORS``, and one of ``TELLING_INFIX``, is.

    An automaton for the whole ones would have too many states. ``before`` is
    a pattern of what comes right before a token.
    """
    infix = rf"[A-Za-z0-9][_-](?:{KINDS})[_-][A-Za-z0-9_=-]{{{_ENOUGH}}}"
    live = rf"{before}live_[A-Za-z0-9_=-]{{8}}"
    return "|".join(_start_of(each, before) for each in VENDORS), f"{infix}|{live}"


def _start_of(pattern: str, before: str) -> str:
    begins = _ANY_START.match(pattern)
    if begins is not None:
        pattern, before = pattern[begins.end() :], ""
    for start, later in _LATER.items():
        if pattern.startswith(start):
            return later
    return f"{before}(?:{_shortened(pattern)})"


def _shortened(pattern: str) -> str:
    for many in _MANY.finditer(pattern):
        before = pattern[: many.start()]
        balanced = before.count("(") == before.count(")")
        if balanced and int(many[1]) > _ENOUGH and not _CHOICE.search(pattern):
            return f"{before}{{{_ENOUGH}}}"
    return pattern
