"""What SDKs raise for a miss: buffr's own words, after one request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import boto3  # type: ignore[import-untyped]
import cohere
import openai
import pytest
import stripe
from botocore import UNSIGNED  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from google import genai

from buffr.testing import BuffrProcess

SECRET = "sk-test-1a2B3c4D5e6F7g8H9i0J"  # no log or message may have it


@pytest.fixture(scope="module")
def buffr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuffrProcess]:
    """A replay of nothing."""
    directory = tmp_path_factory.mktemp("misses")
    empty = directory / "empty.json"
    empty.write_text('{\n  "version": 1,\n  "interactions": [\n  ]\n}\n')
    with BuffrProcess.run("replay", "--port", "0", "--cassette", str(empty)) as running:
        yield running


def _requests(buffr: BuffrProcess, number: int) -> int:
    """How many requests came before this one, the marker: the log has them in their order."""
    connection = HTTPConnection("127.0.0.1", buffr.ports[0])
    connection.request("GET", f"/marker-{number}")
    connection.getresponse().read()
    connection.close()
    buffr.wait_for(rf"GET /marker-{number}\b")
    return len(re.findall(r" src=miss ", buffr.log())) - 1


def _aws(service: str, call: str, **arguments: str) -> Callable[[str], object]:
    def ask(url: str) -> object:
        client: Any = boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key=SECRET,
        )
        return getattr(client, call)(**arguments)

    return ask


def _unsigned(url: str) -> object:
    config = Config(signature_version=UNSIGNED)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config)
    return client.get_object(Bucket="b", Key="k")


def _openai(url: str) -> object:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=SECRET)
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])


def _openai_get(url: str) -> object:
    return list(openai.OpenAI(base_url=f"{url}/v1", api_key=SECRET).models.list())


def _anthropic(url: str) -> object:
    import anthropic  # noqa: PLC0415  # takes seconds: not in each worker

    client = anthropic.Anthropic(base_url=url, api_key=SECRET)
    return client.messages.create(
        model="m", max_tokens=3, messages=[{"role": "user", "content": "x"}]
    )


def _genai(url: str) -> object:
    client = genai.Client(
        api_key=SECRET,
        http_options=genai.types.HttpOptions(
            base_url=url, retry_options=genai.types.HttpRetryOptions(attempts=3)
        ),
    )
    return client.models.generate_content(model="g", contents="x")


def _cohere(url: str) -> object:
    return cohere.ClientV2(api_key=SECRET, base_url=url).models.list()


def _stripe(url: str) -> object:
    client = stripe.StripeClient(SECRET, base_addresses={"api": url}, max_network_retries=2)
    return client.v1.customers.list()


CALLS: dict[str, Callable[[str], object]] = {
    "openai": _openai,
    "openai get": _openai_get,
    "anthropic": _anthropic,
    "google-genai": _genai,
    "cohere": _cohere,
    "stripe": _stripe,
    "s3": _aws("s3", "get_object", Bucket="b", Key="k"),
    "s3 put": _aws("s3", "put_object", Bucket="b", Key="k", Body="x"),
    "s3 unsigned": _unsigned,
    "ec2": _aws("ec2", "describe_instances"),
    "sts": _aws("sts", "get_caller_identity"),
    "route53": _aws("route53", "list_hosted_zones"),
    "sqs": _aws("sqs", "list_queues"),
    "dynamodb": _aws("dynamodb", "list_tables"),
    "lambda": _aws("lambda", "list_functions"),
    "cbor": _aws("arc-region-switch", "list_plans"),
}


class TestMisses:
    @pytest.mark.parametrize("name", CALLS)
    def test_the_exception_has_buffrs_words_and_nothing_is_repeated(
        self, buffr: BuffrProcess, name: str
    ) -> None:
        number = list(CALLS).index(name)
        before = _requests(buffr, 2 * number)
        with pytest.raises(Exception, match="buffr: no recorded interaction matches") as raised:
            CALLS[name](buffr.url)
        # The first marker counts.
        assert _requests(buffr, 2 * number + 1) - before - 1 == 1
        assert SECRET not in str(raised.value)

    @pytest.mark.parametrize(
        ("field", "status"),
        [
            (("X-Fern-Language", "Java"), 424),
            (("User-Agent", "azsdk-js-keyvault-secrets/4.9.0"), 424),
            (("User-Agent", "octokit.js/5.0.5 octokit-core.js/7.0.6"), 400),
            (("User-Agent", "octokit-core.js/7.0.6"), 599),
            (("User-Agent", "azsdk-python-identity/1.25"), 599),
        ],
    )
    def test_sdks_that_repeat_after_any_5xx_get_another_status(
        self, buffr: BuffrProcess, field: tuple[str, str], status: int
    ) -> None:
        connection = HTTPConnection("127.0.0.1", buffr.ports[0])
        connection.request("GET", "/x", headers=dict((field,)))
        answer = connection.getresponse()
        assert (answer.status, answer.reason) == (status, "No Recorded Interaction")
        connection.close()

    @pytest.mark.parametrize(
        ("name", "operation"), [("sqs", "AmazonSQS.ListQueues"), ("sts", "GetCallerIdentity")]
    )
    def test_a_miss_names_the_operation(
        self, buffr: BuffrProcess, name: str, operation: str
    ) -> None:
        """Where the URL is the same for all, by a header or in the body."""
        with pytest.raises(ClientError, match=rf"matches POST / \({operation}\)"):
            CALLS[name](buffr.url)

    def test_no_secret_is_in_the_log(self, buffr: BuffrProcess) -> None:
        assert SECRET not in buffr.log()
