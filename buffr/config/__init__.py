"""Settings: a YAML file, the environment and flags become one frozen ``Config``."""

from buffr.config.forward import ForwardHost, ForwardSettings
from buffr.config.kinds import StatusSet
from buffr.config.limits import Limits, RateLimits
from buffr.config.listener import AccessSettings
from buffr.config.loading import load
from buffr.config.model import Config, Durability, LogFormat, Redaction
from buffr.config.parents import ParentProxies, ParentProxy, Via
from buffr.config.reverse import ReverseRoute
from buffr.config.route import (
    Credentials,
    IgnoreRule,
    MatchSettings,
    Repeat,
    WebSocketSettings,
    cassette_name,
    scope_cassette,
)
from buffr.config.upstream import UpstreamOptions

__all__ = [
    "AccessSettings",
    "Config",
    "Credentials",
    "Durability",
    "ForwardHost",
    "ForwardSettings",
    "IgnoreRule",
    "Limits",
    "LogFormat",
    "MatchSettings",
    "ParentProxies",
    "ParentProxy",
    "RateLimits",
    "Redaction",
    "Repeat",
    "ReverseRoute",
    "StatusSet",
    "UpstreamOptions",
    "Via",
    "WebSocketSettings",
    "cassette_name",
    "load",
    "scope_cassette",
]
