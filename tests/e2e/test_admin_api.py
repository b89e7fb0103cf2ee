"""The admin API does what its OpenAPI document promises, whatever is asked."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from admin_client import Admin
from hypothesis import HealthCheck, Phase, settings

from buffr.testing import BuffrProcess, FakeUpstream, answer

SETTINGS = """
reverse:
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: c.json}
  - {target: 'UPSTREAM', port: 0, mode: cache, ttl: 1h, limits: {per_minute: 1000}}
  - {target: 'UPSTREAM', port: 0, mode: replay, cassette: none.json}
"""
EXAMPLES = 8
"""For each of about thirty operations; `--hypothesis-profile=deep` is for more."""


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    directory = tmp_path_factory.mktemp("api")
    with FakeUpstream(lambda _: answer(b'{"ok": true}')) as upstream:
        (directory / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=directory, env=environment, listeners=3) as buffr:
            with httpx.Client(trust_env=False) as client:
                for port in buffr.ports:
                    for path in ("a", "a", "b?key=sk-aaaaaaaaaaaaaaaaaaaaaaaa1"):
                        client.post(f"http://127.0.0.1:{port}/{path}", json={"x": 1})
            yield Admin.of(buffr, directory)
        log = buffr.log()
        assert "defect" not in log, log


@pytest.fixture(scope="module")
def document(admin: Admin) -> Any:
    return admin.get("/openapi.json")


@pytest.fixture(scope="module")
def api(document: Any, admin: Admin) -> Any:
    # Here, because it takes long and each worker imports this module. And not by a statement:
    # its sources make mypy take `re._parser` for a module.
    schemathesis: Any = importlib.import_module("schemathesis")
    loaded = schemathesis.openapi.from_dict(document)
    loaded.config.update(base_url=admin.url)
    return loaded


class TestDocument:
    def test_each_page_is_described_and_the_other_way_round(
        self, admin: Admin, document: Any
    ) -> None:
        """A page that is described answers something other than that it does not exist."""
        for path, operations in document["paths"].items():
            for method in operations.keys() & {"get", "post", "put", "delete"}:
                url = path.replace("{id}", "1").replace("{scope}", "x")
                with admin.client.stream(method.upper(), url) as found:
                    assert found.status_code != 405, path
                    if found.status_code == 404:
                        found.read()
                        assert "such page" not in found.json()["error"]["message"], path

    def test_what_changes_something_says_that_it_needs_the_token(self, document: Any) -> None:
        for path, operations in document["paths"].items():
            for method in operations.keys() & {"post", "put", "delete"}:
                assert operations[method]["security"] == [{"token": []}, {"bearer": []}], path


class TestConformance:
    @pytest.mark.parametrize("with_token", [False, True])
    def test_answers_are_as_described(self, admin: Admin, api: Any, with_token: bool) -> None:
        """Valid and invalid inputs: no 5xx, and only described statuses, types and shapes."""
        failures: list[str] = []
        known: Any = importlib.import_module("schemathesis.checks").CHECKS
        checks = [
            known.get_one(name)
            for name in (
                "not_a_server_error",
                "status_code_conformance",
                "content_type_conformance",
                "response_schema_conformance",
            )
        ]
        headers = {"X-Buffr-Token": admin.token} if with_token else {}

        for result in api.get_all_operations():
            operation = result.ok()
            if operation.path == "/api/events":  # without end; it has tests of its own
                continue

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            def tried(case: Any) -> None:
                found = case.call(headers=headers, timeout=30)
                try:
                    case.validate_response(found, checks=checks)
                except Exception as error:  # noqa: BLE001  # all failures are listed
                    failures.append(f"{case.method} {case.formatted_path}: {error}")

            schemathesis_given(operation, tried)
        assert not failures, "\n\n".join(failures[:5])


def schemathesis_given(operation: Any, test: Any) -> None:
    """Run a test with cases of an operation."""
    from hypothesis import given  # noqa: PLC0415  # beside what it is for

    given(case=operation.as_strategy())(test)()


def test_the_document_is_as_large_as_a_page_may_load(document: Any) -> None:
    assert len(json.dumps(document)) < 100_000
