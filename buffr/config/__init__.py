"""Settings: a YAML file, the environment and flags become one frozen ``Config``."""

from buffr.config.cassette_name import cassette_name
from buffr.config.limits import Limits
from buffr.config.loading import load
from buffr.config.matching import Credentials, IgnoreRule, MatchSettings
from buffr.config.model import Config, Durability, LogFormat, Redaction, Repeat, ReverseRoute
from buffr.config.statuses import StatusSet

__all__ = [
    "Config",
    "Credentials",
    "Durability",
    "IgnoreRule",
    "Limits",
    "LogFormat",
    "MatchSettings",
    "Redaction",
    "Repeat",
    "ReverseRoute",
    "StatusSet",
    "cassette_name",
    "load",
]
