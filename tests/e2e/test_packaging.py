"""The wheel, installed where no source tree is: the command, the plugin, the demo."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from attrs import frozen
from bench import interactions
from commands import run
from raw_http import ask, request

from buffr import __version__
from buffr.testing import BuffrProcess, FakeUpstream, answer

ROOT = Path(__file__).parents[2]
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")


@frozen
class Installed:
    """An environment with buffr from its wheel, and its dependencies from the tests' own."""

    directory: Path
    wheel: Path

    @property
    def python(self) -> str:
        return str(self.directory / "bin" / "python")

    @property
    def buffr(self) -> str:
        return str(self.directory / "bin" / "buffr")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    made = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = made.glob("*.whl")
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")]
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    # Links in a .pth file are not followed further, so that an editable buffr stays out.
    relative = Path(sysconfig.get_path("purelib", vars={"base": "", "platbase": ""}).lstrip("/"))
    dependencies = directory / relative / "dependencies.pth"
    dependencies.write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(directory, wheel)


class TestWheel:
    def test_it_holds_the_package_and_the_plugin_and_no_more(self, installed: Installed) -> None:
        names = zipfile.ZipFile(installed.wheel).namelist()
        assert "twisted/plugins/buffr_plugin.py" in names
        assert "buffr/py.typed" in names
        tops = {name.split("/")[0] for name in names}
        assert tops == {"buffr", "twisted", f"buffr_proxy-{__version__}.dist-info"}
        assert [name for name in names if name.startswith("twisted/")] == [
            "twisted/plugins/buffr_plugin.py"
        ]

    def test_the_command_runs_from_it(self, installed: Installed, tmp_path: Path) -> None:
        done = run("--version", cwd=tmp_path, command=(installed.buffr,))
        assert (done.returncode, done.stdout) == (0, f"buffr {__version__}\n")
        where = run(
            "-c", "import buffr; print(buffr.__file__)", cwd=tmp_path, command=(installed.python,)
        )
        assert where.stdout.startswith(str(installed.directory))

    def test_twistd_lists_and_runs_it(self, installed: Installed, tmp_path: Path) -> None:
        command = (installed.python, *TWISTD)
        done = run("--help", cwd=tmp_path, command=command)
        assert "\n    buffr  " in done.stdout
        with FakeUpstream(lambda _: answer(b"ok")) as upstream:
            flags = ("-n", "--pidfile=", "buffr", "--target", upstream.url, "--port", "0")
            with BuffrProcess.run(*flags, cwd=tmp_path, command=command) as running:
                assert ask(running.ports[0], request(b"/")).body == b"ok"
                assert running.stop() == 0

    def test_the_demo_works_and_leaves_a_cassette(
        self, installed: Installed, tmp_path: Path
    ) -> None:
        """No network, no colour where no terminal is, no key in the cassette."""
        env = {"TMPDIR": str(tmp_path)}
        done = run("demo", cwd=tmp_path, env=env, command=(installed.buffr,))
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("the same") == 3
        assert "\x1b" not in done.stdout
        path = re.search(r"cassette.*: (\S+\.json)", done.stdout)
        assert path is not None
        assert len(interactions(Path(path[1]))) == 3
        assert "sk-sample-key" not in Path(path[1]).read_text()
