"""An origin: where an upstream is, apart from how it is reached."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Origin:
    """Scheme (``http`` or ``https``), host without brackets, port, and a path before each target.

    ``base_path`` is empty or begins with a slash and does not end in one.
    """

    scheme: str
    host: str
    port: int
    base_path: bytes = b""

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """The ``Host`` field's value: without a default port (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return host.encode("ascii")
        return f"{host}:{self.port}".encode("ascii")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode()}{self.base_path.decode('ascii')}"
