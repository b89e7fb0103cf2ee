"""Whether a cassette's text merely ends too early, as a killed writer leaves it.

JSON that was cut short is recovered; JSON with an error is left for the user
to fix. A strict walk over the tokens distinguishes the two: cut short means
that the text so far could still become valid JSON.
"""

from __future__ import annotations

import re

__all__ = ["is_cut_short"]

_ESCAPE = rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_TEXT = rb'[^"\\\x00-\x1f]+'
_TOKEN = re.compile(
    rb"[ \t\r\n]*(?:(?P<mark>[\[\]{}:,])"
    rb'|(?P<string>"(?:%b|%b)*+")'
    rb"|(?P<atom>true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    rb"(?=[ \t\r\n\[\]{}:,]))" % (_TEXT, _ESCAPE)
)
_CUT_TOKEN = re.compile(
    rb'[ \t\r\n]*(?:"(?:%b|%b)*+(?:\\(?:u[0-9a-fA-F]{0,3})?)?'
    rb"|t(?:r(?:u(?:e)?)?)?|f(?:a(?:l(?:s(?:e)?)?)?)?|n(?:u(?:l(?:l)?)?)?"
    rb"|-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:(?<=[0-9])[eE][+-]?[0-9]*)?)?)?" % (_TEXT, _ESCAPE)
)

# What may come next. The words are those of RFC 8259's grammar.
_VALUE, _VALUE_OR_END, _NAME, _NAME_OR_END, _COLON, _COMMA_OR_END = range(6)


def is_cut_short(text: bytes | bytearray, start: int, end: int, *, after_element: bool) -> bool:
    """Whether ``text[start:end]`` continues a list validly, and ends before the whole does.

    With ``after_element`` an element of the list precedes ``start``, otherwise
    the list's opening bracket. The list is a member of the outermost object.
    """
    stack = [b"}", b"]"]
    state = _COMMA_OR_END if after_element else _VALUE_OR_END
    at = start
    while token := _TOKEN.match(text, at, end):
        at = token.end()
        after = _after(token, state, stack)
        if after is None or not stack:
            return False
        state = after
    return _can_be_cut(text, at, end, state)


def _can_be_cut(text: bytes | bytearray, start: int, end: int, state: int) -> bool:
    rest = _CUT_TOKEN.fullmatch(text, start, end)
    if rest is None:
        return False
    begun = rest[0].lstrip(b" \t\r\n")
    if not begun:
        return True
    if begun.startswith(b'"'):
        return state in (_VALUE, _VALUE_OR_END, _NAME, _NAME_OR_END)
    return state in (_VALUE, _VALUE_OR_END)


def _after(token: re.Match[bytes], state: int, stack: list[bytes]) -> int | None:
    """The state after a token; ``None`` if the token is not allowed there."""
    mark = token["mark"]
    if mark is None:
        if token["string"] is not None and state in (_NAME, _NAME_OR_END):
            return _COLON
        return _COMMA_OR_END if state in (_VALUE, _VALUE_OR_END) else None
    if mark in b"{[":
        if state not in (_VALUE, _VALUE_OR_END):
            return None
        stack.append(b"}" if mark == b"{" else b"]")
        return _NAME_OR_END if mark == b"{" else _VALUE_OR_END
    if mark in b"}]":
        if state not in (_COMMA_OR_END, _NAME_OR_END, _VALUE_OR_END) or stack.pop() != mark:
            return None
        return _COMMA_OR_END
    if mark == b":":
        return _VALUE if state == _COLON else None
    if state != _COMMA_OR_END:
        return None
    return _NAME if stack[-1] == b"}" else _VALUE
