"""One API that names its operations, accounts and versions in header fields."""

from __future__ import annotations

import json
from collections import Counter

from attrs import define, field

from buffr.testing import Received, answer

__all__ = ["OperationsUpstream"]

JSON = b"application/json"
AWS = b"application/x-amz-json-1.1"


@define
class OperationsUpstream:
    """A script for ``FakeUpstream``. ``operations`` counts what was really done."""

    operations: Counter[str] = field(factory=Counter)

    def __call__(self, received: Received) -> bytes:
        if received.method == b"OPTIONS":
            return self._preflight(received)
        target = received.header(b"X-Amz-Target")
        if target is not None:
            return self._aws(target.decode())
        if received.target.startswith(b"/v1/balance"):
            return self._balance(received.header(b"Stripe-Account") or b"none")
        if received.target.startswith(b"/v1/messages"):
            return self._message(received.header(b"anthropic-beta") or b"none")
        if received.target == b"/events":
            return self._events(received.header(b"Last-Event-ID") or b"0")
        if received.method in (b"PROPFIND", b"MOVE"):
            return self._dav(received)
        return answer(b"", b"404 Not Found")

    def _aws(self, target: str) -> bytes:
        operation = target.partition(".")[2]
        self.operations[operation] += 1
        results = {
            "GetSecretValue": {"Name": "of-get", "SecretString": "s3cr3t", "ARN": "arn:1"},
            "DescribeSecret": {"Name": "of-describe", "ARN": "arn:1"},
            "DescribeParameters": {"Parameters": [{"Name": "parameter"}]},
            "DescribeActivations": {"ActivationList": [{"Description": "activation"}]},
            "ListTables": {"TableNames": ["table"]},
            "ListBackups": {"BackupSummaries": [{"TableName": "backup"}]},
            "ReceiveMessage": {"Messages": [{"MessageId": "1", "Body": "hello"}]},
        }
        return _json(results.get(operation, {}), AWS)

    def _balance(self, account: bytes) -> bytes:
        self.operations[f"balance of {account.decode()}"] += 1
        available = [{"amount": len(account), "currency": account.decode()}]
        return _json({"object": "balance", "available": available, "pending": []})

    def _message(self, beta: bytes) -> bytes:
        self.operations[f"message with {beta.decode()}"] += 1
        content = [{"type": "text", "text": beta.decode()}]
        return _json(
            {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
             "content": content, "stop_reason": "end_turn", "stop_sequence": None,
             "usage": {"input_tokens": 1, "output_tokens": 1}}
        )  # fmt: skip

    def _events(self, last: bytes) -> bytes:
        self.operations[f"events after {last.decode()}"] += 1
        number = int(last) + 1
        return answer(
            b"retry: 10\nid: %d\ndata: event-%d\n\n" % (number, number),
            headers=((b"Content-Type", b"text/event-stream"),),
        )

    def _dav(self, received: Received) -> bytes:
        told = received.header(b"Depth") or received.header(b"Destination") or b"-"
        self.operations[f"{received.method.decode()} {told.rpartition(b'/')[2].decode()}"] += 1
        return answer(told, b"207 Multi-Status")

    def _preflight(self, received: Received) -> bytes:
        method = received.header(b"Access-Control-Request-Method") or b"-"
        self.operations[f"preflight of {method.decode()}"] += 1
        return answer(
            b"",
            b"204 No Content",
            headers=(
                (b"Access-Control-Allow-Origin", received.header(b"Origin") or b"*"),
                (b"Access-Control-Allow-Methods", method),
                (b"Access-Control-Allow-Headers", b"x-one, x-two"),
            ),
        )


def _json(value: object, media_type: bytes = JSON) -> bytes:
    return answer(json.dumps(value).encode(), headers=((b"Content-Type", media_type),))
