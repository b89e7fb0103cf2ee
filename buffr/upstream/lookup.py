"""Look-ups of names as they are written, whose addresses may be judged before anything connects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from buffr.errors import BuffrError

__all__ = ["NameLookup", "WithLookup"]

_Judge = Callable[[str], None]


@implementer(IHostnameResolver)
class NameLookup:
    """Looks ``name`` up, whatever name it is asked for.

    So the name reaches the system's resolver as it is written: names of
    hosts may have underscores (``my_service``), or hyphens where IDNA 2008
    has none (``r3---sn-4g5e``), and A-labels that it does not know.

    Addresses that ``judge`` raises a ``BuffrError`` for are left out;
    ``refusal`` is the last such error.
    """

    def __init__(self, resolver: IHostnameResolver, name: str, judge: _Judge | None) -> None:
        self.refusal: BuffrError | None = None
        self._resolver = resolver
        self._name = name
        self._judge = judge

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803, ARG002
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        receiver = resolutionReceiver
        if self._judge is not None:
            receiver = _Judged(resolutionReceiver, partial(self._allows, self._judge))
        return self._resolver.resolveHostName(
            receiver, self._name, portNumber, addressTypes, transportSemantics
        )

    def _allows(self, judge: _Judge, address: IAddress) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            return True
        try:
            judge(address.host)
        except BuffrError as error:
            self.refusal = error
            return False
        return True


@implementer(IResolutionReceiver)
class _Judged:
    """Passes on what a look-up finds, if it is allowed."""

    def __init__(self, receiver: IResolutionReceiver, allows: Callable[[IAddress], bool]) -> None:
        self._receiver = receiver
        self._allows = allows

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        if self._allows(address):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class WithLookup:
    """A reactor whose names are looked up in another way."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self.nameResolver = resolver
        self._reactor = reactor

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        before, self.nameResolver = self.nameResolver, resolver
        return before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
