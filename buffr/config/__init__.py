"""Settings: a YAML file, the environment and flags become one frozen ``Config``."""

from buffr.config.limits import Limits
from buffr.config.loading import load
from buffr.config.matching import Credentials, IgnoreRule, MatchSettings
from buffr.config.model import Config, Durability, LogFormat, Redaction, Repeat, ReverseRoute
from buffr.config.statuses import StatusSet
from buffr.config.target import Target, cassette_name

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
    "Target",
    "cassette_name",
    "load",
]
