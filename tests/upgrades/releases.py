"""The SDKs, each with an older and a newer release."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

__all__ = ["SDKS", "Release", "Sdk"]

OLD_HTTPX = "httpx<0.28"


@frozen
class Release:
    """What is installed: the release itself, and what it needs to be older than today's."""

    pins: tuple[str, ...]

    @property
    def version(self) -> str:
        return self.pins[0].partition("==")[2]


@frozen
class Sdk:
    """``others`` are calls for which the releases really send other requests, and how.

    With ``retries`` it tries again by itself after a 503.
    """

    name: str
    old: Release
    new: Release
    others: Mapping[str, str] = field(factory=dict)

    @property
    def script(self) -> str:
        """The file in ``clients/`` that makes the calls."""
        return f"of_{self.name.replace('-', '_').lower()}.py"

    @property
    def retries(self) -> bool:
        return self.name in ("openai", "anthropic", "boto3", "stripe")

    def __str__(self) -> str:
        return self.name


def _sdk(name: str, old: str, new: str, *older: str, **others: str) -> Sdk:
    named = {call.replace("_", " "): why for call, why in others.items()}
    return Sdk(name, Release((f"{name}=={old}", *older)), Release((f"{name}=={new}",)), named)


SDKS = (
    _sdk("openai", "1.40.0", "3.57.0", OLD_HTTPX),
    _sdk("anthropic", "0.34.0", "2.14.0", OLD_HTTPX),
    _sdk("boto3", "1.34.0", "1.44.8", new_secret="its ClientRequestToken is new each time"),
    _sdk("stripe", "9.0.0", "16.1.0"),
    _sdk("google-genai", "1.0.0", "3.6.1"),
    _sdk("mistralai", "1.0.0", "3.7.0", chat="the older one spells out defaults of the API"),
    _sdk("cohere", "5.13.0", "7.3.1"),
    _sdk("groq", "0.9.0", "1.7.0", OLD_HTTPX),
    _sdk("together", "1.3.0", "3.1.1", chat="the older one says stream: false"),
    _sdk(
        "langchain-openai",
        "0.1.20",
        "1.7.4",
        OLD_HTTPX,
        chat="the older one says n: 1 and logprobs: false",
    ),
    _sdk("azure-storage-blob", "12.19.0", "12.31.1"),
    _sdk(
        "google-cloud-storage",
        "2.14.0",
        "3.17.1",
        upload="the newer one sends a checksum in the object's metadata",
    ),
    _sdk("slack-sdk", "3.27.0", "3.48.0"),
    _sdk("twilio", "9.0.0", "9.13.0"),
    _sdk("notion-client", "2.2.0", "3.1.0"),
    _sdk(
        "PyGithub",
        "2.1.1",
        "2.10.0",
        search="another order in the query, which counts unless match.normalise.query_order",
    ),
    _sdk(
        "huggingface_hub",
        "0.24.0",
        "2.4.0",
        new_repo="visibility has taken the place of private",
    ),
    _sdk(
        "postgrest",
        "0.16.0",
        "2.34.1",
        select="the older one sends {} with a GET",
        one="as select",
    ),
    _sdk("elasticsearch", "8.12.0", "9.5.1"),
    _sdk("replicate", "0.25.0", "1.0.7"),
    _sdk("sendgrid", "6.9.0", "6.12.5"),
)
