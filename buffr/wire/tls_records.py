"""Where the records of TLS begin and end (RFC 8446 5.1); what is in them is not looked at."""

from __future__ import annotations

__all__ = ["Records"]

_HEADER_BYTES = 5
_APPLICATION_DATA = 23


class Records:
    """Follows the records of one direction of a connection, however they are split."""

    def __init__(self) -> None:
        self._missing = 0
        """How much of the record under way is still to come."""
        self._header = b""
        """A header under way."""

    def feed(self, data: bytes) -> bool:
        """Take the next bytes. Returns whether they are exactly one record of application data."""
        if (
            not self._missing
            and not self._header
            and len(data) > _HEADER_BYTES
            and data[0] == _APPLICATION_DATA
            and len(data) == _HEADER_BYTES + (data[3] << 8 | data[4])
        ):
            return True
        self._follow(data)
        return False

    def _follow(self, data: bytes) -> None:
        at = min(self._missing, len(data))
        self._missing -= at
        while at < len(data):
            taken = _HEADER_BYTES - len(self._header)
            self._header += data[at : at + taken]
            at += taken
            if len(self._header) < _HEADER_BYTES:
                return
            length = self._header[3] << 8 | self._header[4]
            self._header = b""
            self._missing = max(0, at + length - len(data))
            at += length
