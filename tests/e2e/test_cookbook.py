"""The snippets of the cookbook, each recorded once and then replayed as in CI."""

from __future__ import annotations

import json
import re
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from attrs import define, field
from node_packages import node_packages
from page_snippets import API, Project, page_text, snippets_of

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

SNIPPETS = snippets_of("cookbook.md")


def _script(received: Received) -> bytes:
    return answer(b"%b %b" % (received.method, received.target))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "cassettes").mkdir()
    with FakeUpstream(_script) as upstream:
        yield Project(tmp_path, upstream, SNIPPETS)


class TestPython:
    def test_unittest(self, place: Project) -> None:
        place.write("behind_buffr.py", "test_users.py")
        place.twice(sys.executable, "-m", "unittest", "-v")
        assert (place.directory / "cassettes" / "TestUsers.json").exists()


ASKS = """
const answer = await fetch(`${process.env.API_URL}/users`);
expect(await answer.text()).toBe("GET /users");
"""


class TestNode:
    @pytest.fixture
    def modules(self, place: Project) -> Path:
        """The packages, as an installation in the project has them."""
        modules = node_packages() / "node_modules"
        (place.directory / "node_modules").symlink_to(modules)
        (place.directory / "tests" / "cassettes").mkdir(parents=True)
        return modules

    def test_vitest(self, place: Project, modules: Path) -> None:
        place.write("tests/buffr.mjs", "vitest.config.mjs")
        text = f'import {{ expect, test }} from "vitest";\ntest("it", async () => {{{ASKS}}});\n'
        (place.directory / "tests" / "it.test.mjs").write_text(text)
        program = str(modules / "vitest" / "vitest.mjs")
        place.twice("node", program, "run", "--no-cache")

    def test_jest(self, place: Project, modules: Path) -> None:
        names = ("tests/buffr.mjs", "tests/jest-setup.mjs", "tests/jest-teardown.mjs")
        place.write(*names, "jest.config.mjs")
        (place.directory / "tests" / "it.test.js").write_text(
            f'test("it", async () => {{{ASKS}}});'
        )
        (place.directory / "package.json").write_text('{"name": "project", "private": true}')
        program = str(modules / "jest" / "bin" / "jest.js")
        place.twice("node", program, "--no-cache", "--watchman=false")

    @pytest.mark.slow
    def test_what_hinders_it_is_said(self, place: Project, modules: Path) -> None:
        """A cassette that cannot be read ends the run, and not only its tests."""
        place.write("tests/buffr.mjs", "vitest.config.mjs")
        (place.directory / "tests" / "it.test.mjs").write_text("")
        (place.directory / "tests" / "cassettes" / "api.json").write_text("{,")
        program = str(modules / "vitest" / "vitest.mjs")
        said = place.run("node", program, "run", ci=True, code=1)
        assert "buffr ended with code 1" in said


GO_TEST = """package api

import (
	"io"
	"net/http"
	"testing"
)

func TestIt(t *testing.T) {
	answer, err := http.Get(apiURL + "/users")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	if string(text) != "GET /users" {
		t.Fatal(string(text))
	}
}
"""


class TestGo:
    def test_main(self, place: Project) -> None:
        if shutil.which("go") is None:
            pytest.skip("go is not on this machine")
        place.write("main_test.go")
        (place.directory / "testdata").mkdir()
        (place.directory / "it_test.go").write_text(GO_TEST)
        (place.directory / "go.mod").write_text("module api\n\ngo 1.19\n")
        gofmt = place.run("gofmt", "-l", ".")
        assert gofmt == ""
        place.twice("go", "test", "-count=1", "./...")


def steps(name: str) -> list[str]:
    """What a workflow runs, in order."""
    workflow = yaml.safe_load(SNIPPETS[name])
    (job,) = workflow["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


class TestActions:
    def command(self, place: Project, name: str) -> tuple[str, ...]:
        """The step that runs the tests, with curl in their place."""
        (step,) = [step for step in steps(name) if step.startswith("buffr ")]
        url = f"{place.upstream.url}/users"
        return ("bash", "-c", step.replace("npm test", f"curl -sS --fail {url}"))

    def test_cassettes_in_git(self, place: Project) -> None:
        command = self.command(place, ".github/workflows/test.yaml")
        place.run(*command, code=22)
        assert place.upstream.received == []
        assert "no recorded interaction" in (place.directory / "buffr.xml").read_text()
        place.run(*(*command[:-1], command[-1].replace("--replay --fail-on-miss", "")))
        place.run(*command)
        assert len(place.upstream.received) == 1

    def test_cassettes_in_the_cache(self, place: Project) -> None:
        """The main branch records; a pull request does not."""
        command = self.command(place, ".github/workflows/cached.yaml")
        strict = "--replay --fail-on-miss"
        assert strict in SNIPPETS[".github/workflows/cached.yaml"]
        place.run(*command, environ={"STRICT": strict}, code=22)
        place.run(*command, environ={"STRICT": ""})
        place.run(*command, environ={"STRICT": strict})
        assert len(place.upstream.received) == 1

    @pytest.mark.parametrize("name", [name for name in SNIPPETS if name.startswith(".github")])
    def test_the_workflow_is_one(self, name: str) -> None:
        workflow = yaml.safe_load(SNIPPETS[name])
        assert {"name", "jobs"} <= workflow.keys()
        assert steps(name)[0].startswith("python -m pip install")


@define
class _Container:
    """What the snippet asks of ``DockerContainer``, as a process instead of a container."""

    image: str
    env: dict[str, str] = field(factory=dict)
    volumes: dict[str, str] = field(factory=dict)
    ports: list[int] = field(factory=list)
    running: Any = None

    def with_env(self, name: str, value: str) -> Self:
        self.env[name] = value
        return self

    def with_volume_mapping(self, host: str, container: str, _: str) -> Self:
        self.volumes[container] = host
        return self

    def with_exposed_ports(self, *ports: int) -> Self:
        self.ports += ports
        return self

    def __enter__(self) -> Self:
        assert self.ports == [8080], "the default of the image"
        env = dict(self.env)
        for inside, outside in self.volumes.items():
            env = {name: value.replace(inside, outside) for name, value in env.items()}
        self._entered = BuffrProcess.run(env={**env, "BUFFR_PORT": "0"})
        self.running = self._entered.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.__exit__(None, None, None)

    def get_container_host_ip(self) -> str:
        return "127.0.0.1"

    def get_exposed_port(self, _: int) -> int:
        return int(self.running.ports[0])

    _entered: Any = None


class TestContainers:
    def test_testcontainers(self, place: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """No engine is needed to see that the settings are right."""
        record = ("buffr", "run", "--cassette", "cassettes/api.json", "--")
        place.run(*record, "curl", "-sS", f"{place.upstream.url}/users")
        waits: list[str] = []
        core = types.ModuleType("testcontainers.core.container")
        waiting = types.ModuleType("testcontainers.core.waiting_utils")
        vars(core)["DockerContainer"] = _Container
        vars(waiting)["wait_for_logs"] = lambda _, text: waits.append(text)
        monkeypatch.setitem(sys.modules, core.__name__, core)
        monkeypatch.setitem(sys.modules, waiting.__name__, waiting)
        monkeypatch.chdir(place.directory)
        made: dict[str, Any] = {}
        exec(SNIPPETS["conftest.py"].replace('@pytest.fixture(scope="session")', ""), made)
        url = next(urls := made["api_url"]())
        said = place.run("curl", "-sS", "--fail", f"{url}/users")
        urls.close()
        assert said == "GET /users"
        assert waits == ["msg=listening"]

    def test_dev_containers(self, place: Project) -> None:
        (text,) = re.findall(r"```json\n(.*?)```", page_text("cookbook.md"), re.DOTALL)
        settings = json.loads(text.replace(API, place.upstream.url))
        start = settings["postStartCommand"].removeprefix("nohup ")
        assert start.endswith(" > buffr.log 2>&1 &")
        words = start.removesuffix(" > buffr.log 2>&1 &").split()
        assert settings["containerEnv"]["API_URL"].endswith(f":{settings['forwardPorts'][0]}")
        with BuffrProcess.run(*words[1:], "--port", "0", cwd=place.directory) as buffr:
            assert place.run("curl", "-sS", f"{buffr.url}/users") == "GET /users"
