"""Operations, accounts and versions that only a header field tells apart, by real clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import stripe
from operations_upstream import OperationsUpstream

from buffr.testing import BuffrProcess, FakeUpstream

SECRET = "sk-test-1a2B3c4D5e6F7g8H9i0J"

Call = Callable[[str], Any]


def aws(service: str, call: str, *path: str | int, **arguments: Any) -> Call:
    """A call of an AWS service, and where its result says which one it was."""

    def made(url: str) -> Any:
        client: Any = boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key=SECRET,
        )
        result: Any = getattr(client, call)(**arguments)
        for step in path:
            result = result[step]
        return result

    return made


def balance(account: str | None) -> Call:
    def made(url: str) -> Any:
        client = stripe.StripeClient(SECRET, base_addresses={"api": url}, stripe_account=account)
        return client.v1.balance.retrieve().available[0].currency

    return made


def message(*betas: str) -> Call:
    def made(url: str) -> Any:
        import anthropic  # noqa: PLC0415  # takes seconds: not in each worker

        client = anthropic.Anthropic(api_key=SECRET, base_url=url, max_retries=0)
        arguments: Any = {
            "model": "claude-x",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hi"}],
        }
        if betas:
            return client.beta.messages.create(betas=list(betas), **arguments).content[0].text
        return client.messages.create(**arguments).content[0].text

    return made


def raw(method: str, path: str, name: str, *fields: tuple[str, str]) -> Call:
    """A request of http.client, and the answer's field, or its body for ``name`` ``body``."""

    def made(url: str) -> str:
        connection = HTTPConnection(url.removeprefix("http://"), timeout=120)
        try:
            connection.request(method, path, headers=dict(fields))
            answer = connection.getresponse()
            body = answer.read().decode()
            return body if name == "body" else str(answer.headers[name])
        finally:
            connection.close()

    return made


def preflight(method: str) -> Call:
    return raw(
        "OPTIONS",
        "/data",
        "Access-Control-Allow-Methods",
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "x-two,x-one"),
    )


QUEUE = {"QueueUrl": "http://127.0.0.1/1/queue"}

CALLS: dict[str, tuple[Call, Any]] = {
    "secret": (aws("secretsmanager", "get_secret_value", "Name", SecretId="db"), "of-get"),
    "describe": (
        aws("secretsmanager", "describe_secret", "Name", SecretId="db"),
        "of-describe",
    ),
    "receive": (aws("sqs", "receive_message", "Messages", 0, "Body", **QUEUE), "hello"),
    "purge": (aws("sqs", "purge_queue", "ResponseMetadata", "HTTPStatusCode", **QUEUE), 200),
    "parameters": (aws("ssm", "describe_parameters", "Parameters", 0, "Name"), "parameter"),
    "activations": (
        aws("ssm", "describe_activations", "ActivationList", 0, "Description"),
        "activation",
    ),
    "tables": (aws("dynamodb", "list_tables", "TableNames", 0), "table"),
    "backups": (aws("dynamodb", "list_backups", "BackupSummaries", 0, "TableName"), "backup"),
    "own balance": (balance(None), "none"),
    "balance of one": (balance("acct_one"), "acct_one"),
    "balance of three": (balance("acct_three"), "acct_three"),
    "message": (message(), "none"),
    "beta message": (message("files-api-2025-04-14"), "files-api-2025-04-14"),
    "other beta": (message("context-1m-2025-08-07"), "context-1m-2025-08-07"),
    "events": (raw("GET", "/events", "body"), "retry: 10\nid: 1\ndata: event-1\n\n"),
    "resumed events": (
        raw("GET", "/events", "body", ("Last-Event-ID", "7")),
        "retry: 10\nid: 8\ndata: event-8\n\n",
    ),
    "depth 0": (raw("PROPFIND", "/dav/", "body", ("Depth", "0")), "0"),
    "depth 1": (raw("PROPFIND", "/dav/", "body", ("Depth", "1")), "1"),
    "preflight of PUT": (preflight("PUT"), "PUT"),
    "preflight of DELETE": (preflight("DELETE"), "DELETE"),
}


def ask_all(url: str) -> dict[str, Any]:
    return {name: call(url) for name, (call, _) in CALLS.items()}


def ask_all_at_once(url: str) -> dict[str, Any]:
    """Every call in a thread of its own, all under way together."""
    answers: dict[str, Any] = {}
    ready = threading.Barrier(len(CALLS))

    def ask(name: str, call: Call) -> None:
        ready.wait()
        answers[name] = call(url)

    threads = [threading.Thread(target=ask, args=(name, call)) for name, (call, _) in CALLS.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


EXPECTED = {name: expected for name, (_, expected) in CALLS.items()}


class TestOperations:
    @pytest.mark.parametrize("ask", [ask_all, ask_all_at_once])
    def test_each_call_gets_its_own_answer(
        self, tmp_path: Path, ask: Callable[[str], dict[str, Any]]
    ) -> None:
        """In auto the first time and the second, and in replay; each was really made once."""
        script = OperationsUpstream()
        flags = ("--port", "0", "--cassette", "api.json")
        with FakeUpstream(script) as upstream:
            with BuffrProcess.run(
                "auto", "--target", upstream.url, *flags, cwd=tmp_path
            ) as recording:
                assert ask(recording.url) == EXPECTED
                made = script.operations.copy()
                assert ask(recording.url) == EXPECTED
                assert script.operations == made
            assert set(made.values()) == {1}
            assert made["PurgeQueue"] == 1
            assert len(made) == len(CALLS)
            with BuffrProcess.run("replay", *flags, cwd=tmp_path) as replaying:
                assert ask(replaying.url) == EXPECTED
            assert script.operations == made
