"""``buffr run --isolate``: whatever a command opens ends at buffr, and nothing else leaves."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any

import pytest
from attrs import frozen
from bench import eventually
from commands import BUFFR
from forward_bench import NO_PARENTS, named, secure_origin, trust_file
from forward_clients import HOST
from forward_parents import running_parent
from namespaces import needs_namespaces
from ports import free_port

from buffr.commands.run.environment import VARIABLES
from buffr.testing import FakeUpstream, answer

pytestmark = needs_namespaces

Done = subprocess.CompletedProcess[str]

NOBODY = 65534
PUBLIC_PYTHON = "/usr/bin/python3"
USERS = ["self"]
if os.geteuid() == 0 and all(map(shutil.which, ("setpriv", PUBLIC_PYTHON))):
    USERS.append("nobody")


@frozen
class Place:
    """A directory to run in. Every name below ``example.test`` is the origin's, for buffr alone."""

    directory: Path
    user: str

    @property
    def python(self) -> str:
        """One that the user may run."""
        return sys.executable if self.user == "self" else PUBLIC_PYTHON

    @property
    def env(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
        for one in VARIABLES:
            ours.pop(one.name, None)
        ours |= {"HOME": str(self.directory), "TMPDIR": str(self.directory / "tmp")}
        return {**ours, **NO_PARENTS, "BUFFR_CONFIG": "buffr.yaml"}

    def line(self, *arguments: str) -> list[str]:
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        return [*(become if self.user == "nobody" else ()), *BUFFR, "run", "--isolate", *arguments]

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        """To its end, which leaves nothing behind."""
        done = subprocess.run(
            self.line(*arguments),
            cwd=self.directory,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert list((self.directory / "tmp").iterdir()) == []
        return done

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.line(*arguments),
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


def settings(directory: Path) -> dict[str, Any]:
    row = {"host": f"*.{HOST}", "resolve": "127.0.0.1", "cassette": "all.json"}
    return {"forward": {"ca_file": str(trust_file(directory)), "hosts": [row]}}


@pytest.fixture(params=USERS)
def each_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """As the user of the tests, and as one without privileges."""
    with _place(request.param) as place:
        yield place


@pytest.fixture
def place() -> Iterator[Place]:
    """As a user without privileges, if the tests can become one."""
    with _place(USERS[-1]) as place:
        yield place


@contextmanager
def _place(user: str) -> Iterator[Place]:
    # Not in pytest's directory, which is for its own user alone.
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "buffr.yaml").write_text(json.dumps(settings(directory)))
        (directory / "tmp").mkdir()
        if user == "nobody":
            for path in (directory, *directory.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        yield Place(directory, user)


class TestCommands:
    def test_recorded_and_replayed(self, each_place: Place) -> None:
        """Over TLS and without, with no variable of a proxy, and then with the origins gone."""
        with secure_origin(named, f"*.{HOST}") as secure, FakeUpstream(named) as plain:
            urls = f"https://a.{HOST}:{secure.port}/1", f"http://b.{HOST}:{plain.port}/2"
            command = ("sh", "-c", 'echo "$HTTPS_PROXY"; curl -sS "$@"', "sh", *urls)
            recorded = each_place.run("--record", "--", *command)
            assert recorded.returncode == 0, recorded.stderr
        assert recorded.stdout.splitlines() == [
            "",
            f"GET a.{HOST}:{secure.port}/1GET b.{HOST}:{plain.port}/2",
        ]
        replayed = each_place.run("--replay", "--fail-on-miss", "--", *command)
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
        assert "2 hits, 0 recorded, 0 misses" in replayed.stderr

    def test_it_is_who_it_is_outside(self, each_place: Place) -> None:
        done = each_place.run("--", "sh", "-c", "id -u; id -g; exit 7")
        wanted = NOBODY if each_place.user == "nobody" else os.geteuid()
        assert (done.returncode, done.stdout) == (7, f"{wanted}\n{wanted}\n")

    def test_one_that_cannot_be_run(self, place: Place) -> None:
        (place.directory / "text").write_text("no program")
        (place.directory / "text").chmod(0o755)
        done = place.run("--", "./text")
        assert done.returncode == 126
        assert "neither a program nor a script" in done.stderr


TRY = """
import contextlib, os, socket, sys

def tcp(host, port, data=b""):
    with socket.create_connection((host, port), 60) as client:
        client.sendall(data)
        client.recv(1)

def udp(family, host, port):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.connect((host, port))
        client.send(b"x")
        client.recv(1)

def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
        client.settimeout(60)
        client.sendto(bytes.fromhex("0800f7ff00000000"), ("8.8.8.8", 0))
        while client.recv(99)[20:22] != bytes((3, 13)):
            pass
        raise OSError("prohibited")

def grandchild():
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            try:
                tcp("192.0.2.9", 22)
            except OSError as error:
                os.write(writing, type(error).__name__.encode())
        os._exit(0)
    os.close(writing)
    raise OSError(os.read(reading, 99).decode())

def abstract():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(chr(0) + sys.argv[2])

def packets():
    socket.socket(17, socket.SOCK_RAW, 0).close()
    raise OSError("may send some")

def vsock():
    socket.socket(40, socket.SOCK_STREAM).close()

def unshared():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x50000000):
        raise OSError(ctypes.get_errno(), "unshare")
    tcp("192.0.2.1", 80)

def outside():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(int(sys.argv[3]), 0x40000000):
        raise PermissionError(ctypes.get_errno(), "setns")

for name, attempt in {
    "DNS over TLS": lambda: tcp("192.0.2.1", 853),
    "IPv4": lambda: tcp("192.0.2.2", 4444, b"SSH-2.0-x y"),
    "IPv6": lambda: tcp("2001:db8::5", 22),
    "metadata": lambda: tcp("169.254.169.254", 80, b"GET / HTTP/1.1"),
    "HTTP/3": lambda: udp(socket.AF_INET, "192.0.2.3", 443),
    "UDP over IPv6": lambda: udp(socket.AF_INET6, "2001:db8::6", 9999),
    "database": lambda: tcp("db.example.test", 5432),
    "ICMP": icmp,
    "loopback": lambda: tcp("127.0.0.1", int(sys.argv[1])),
    "grandchild": grandchild,
    "abstract": abstract,
    "packets": packets,
    "vsock": vsock,
    "unshared": unshared,
    "outside": outside,
}.items():
    child = os.fork()
    if child == 0:
        try:
            attempt()
            said = "got out"
        except OSError as error:
            said = type(error).__name__
            if said == "OSError":
                said = str(error)
        print(name, said, sep=": ", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""

ESCAPES = {
    "DNS over TLS": ("192.0.2.1", 853, "tcp"),
    "IPv4": ("192.0.2.2", 4444, "tcp"),
    "IPv6": ("2001:db8::5", 22, "tcp"),
    "metadata": ("169.254.169.254", 80, "tcp"),
    "HTTP/3": ("192.0.2.3", 443, "udp"),
    "UDP over IPv6": ("2001:db8::6", 9999, "udp"),
    "database": ("db.example.test", 5432, "tcp"),
    "ICMP": ("8.8.8.8", 0, "icmp"),
    "loopback": ("127.0.0.1", 0, "tcp"),
    "grandchild": ("192.0.2.9", 22, "tcp"),
}
UNPRIVILEGED = {"ICMP": ("*", 0, "icmp"), "packets": ("*", 0, "packet")}
"""Of these, an unprivileged program does not even get the socket."""


class TestEscapes:
    def test_each_is_refused_with_its_line(self, each_place: Place) -> None:
        """The client sees a closed port; the log names the program, and what would let it pass."""
        outside, network = os.open("/proc/self/ns/net", os.O_RDONLY), _namespace("self")
        with (
            socket.create_server(("127.0.0.1", 0)) as service,
            socket.socket(socket.AF_UNIX) as abstract,
            os.fdopen(outside),
        ):
            abstract.bind("\0" + (abstract_name := f"buffr-{os.getpid()}"))
            abstract.listen()
            port = service.getsockname()[1]
            running = each_place.start(
                *("--fail-on-escape", "--report", "report.json", "--"),
                *(each_place.python, "-c", TRY, str(port), abstract_name, str(outside)),
                pass_fds=(outside,),
            )
            said, log = running.communicate(timeout=120)
        assert running.returncode == 1, log
        found = dict(line.split(": ", 1) for line in said.splitlines())
        root = each_place.user == "self" and os.geteuid() == 0
        assert found == {
            **dict.fromkeys((*ESCAPES, "abstract"), "ConnectionRefusedError"),
            "ICMP": "prohibited" if root else "PermissionError",
            "packets": "may send some" if root else "PermissionError",
            "vsock": "[Errno 97] Address family not supported by protocol",
            "IPv4": "ConnectionResetError",
            "unshared": "[Errno 101] Network is unreachable",
            "outside": "PermissionError",
        }
        report = json.loads((each_place.directory / "report.json").read_text())
        python = Path(each_place.python).name
        refused = {(one["host"], one["port"], one["protocol"]): one for one in report["escapes"]}
        expected = ESCAPES | {
            "abstract": (f"@{abstract_name}", 0, "unix"),
            "vsock": ("*", 0, "vsock"),
            "outside": (network, 0, "setns"),
            **({} if root else UNPRIVILEGED),
        }
        assert len(refused) == len(expected)
        for name, (host, number, protocol) in expected.items():
            one = refused[host, port if name == "loopback" else number, protocol]
            assert one["program"] == python
            assert f"host={host} " in log
            if protocol == "tcp":
                assert one["flag"].startswith("--allow ")
        assert [(one["program"], one["count"]) for one in report["nested"]] == [(python, 1)]
        assert "--fail-on-escape" in log
        assert re.search(r"program=python\S* pid=\d+ host=192.0.2.9 port=22 protocol=tcp", log)


class TestPassing:
    def test_a_service_of_this_machine(self, place: Place) -> None:
        """Relayed byte for byte, to the address that was allowed and to no other."""
        with FakeUpstream(named) as service:
            done = place.run(
                *("--allow", f"127.0.0.1:{service.port}", "--report", "report.json", "--"),
                *("curl", "-sS", f"http://127.0.0.1:{service.port}/here"),
            )
        assert done.stdout == f"GET 127.0.0.1:{service.port}/here", done.stderr
        assert "1 connection relayed" in done.stderr
        report = json.loads((place.directory / "report.json").read_text())
        assert [(one["host"], one["relayed"]) for one in report["asked"]] == [("127.0.0.1", 1)]
        assert not report["escapes"]

    def test_a_bypassed_host(self, place: Place) -> None:
        """It is relayed as behind the proxy: by a tunnel, and through the parent proxy."""
        with FakeUpstream(named) as origin, running_parent() as parent:
            done = place.run(
                *("--bypass", f"a.{HOST}", "--"),
                *("curl", "-sS", f"http://a.{HOST}:{origin.port}/x"),
                env={"HTTPS_PROXY": f"http://{parent.url}"},
            )
        assert done.stdout == f"GET a.{HOST}:{origin.port}/x", done.stderr
        assert "1 host bypassed" in done.stderr
        assert "1 connection relayed" in done.stderr

    def test_a_published_port(self, place: Place) -> None:
        inside, outside = free_port(), free_port()
        serve = f"{place.python} -m http.server --bind 127.0.0.1 {inside}"
        running = place.start("--publish", f"{outside}:{inside}", "--", "sh", "-c", f"exec {serve}")
        try:
            eventually(lambda: _status(outside) == 200)
        finally:
            running.terminate()
            running.communicate(timeout=120)
        assert running.returncode == 128 + signal.SIGTERM

    def test_a_port_that_is_taken(self, place: Place) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = place.run("--publish", str(port), "--", "true")
        assert done.returncode == 2
        assert f"127.0.0.1:{port}" in done.stderr


def _status(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


class TestEnd:
    def test_nothing_outlives_buffr(self, place: Place) -> None:
        """Not even a daemon that the command has started, when buffr is killed outright."""
        program = "setsid sleep 1000 & sleep 1000 & echo ready; wait"
        running = place.start("--", "sh", "-c", program)
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        buffr = _descendants(running.pid)
        assert len(buffr) >= 5
        running.kill()
        running.communicate(timeout=120)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in buffr))

    def test_nothing_outlives_the_command(self, place: Place) -> None:
        running = place.start(
            "--", "sh", "-c", "setsid sleep 1000 >&- 2>&- & echo ready; read x", stdin=-1
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        inside = _descendants(running.pid)
        running.communicate("", timeout=120)
        assert not any(Path(f"/proc/{pid}").exists() for pid in inside)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_is_passed_on(self, place: Place, number: signal.Signals) -> None:
        running = place.start(
            "--",
            "sh",
            "-c",
            f"trap 'echo got; exit 5' {number.value}; echo ready; sleep 1000 & wait",
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        said, _ = running.communicate(timeout=120)
        assert (running.returncode, said) == (5, "got\n")

    def test_a_signal_that_kills(self, place: Place) -> None:
        assert place.run("--", "sh", "-c", "kill -9 $$").returncode == 128 + 9


def _descendants(pid: int) -> list[int]:
    """A process and all that it and its children have started."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


LIMIT = Path("/proc/sys/user/max_net_namespaces")


class TestForbidden:
    """By a limit of a user namespace around, as a container may have it."""

    def in_limits(self, place: Place, *arguments: str) -> Done:
        around = f'echo 0 > {LIMIT}; exec "$@"'
        return subprocess.run(
            ["unshare", "-Ur", "sh", "-c", around, "sh", *BUFFR, "run", *arguments],
            cwd=place.directory,
            env=place.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        with _place("self") as place:
            yield place

    def test_it_says_which_switch(self, place: Place) -> None:
        done = self.in_limits(place, "--isolate", "--", "echo", "ran")
        assert (done.returncode, done.stdout) == (2, "")
        assert "cannot have a network namespace: no space left on device" in done.stderr
        assert "user.max_net_namespaces=0" in done.stderr

    def test_it_does_without_only_if_told(self, place: Place) -> None:
        done = self.in_limits(place, "--isolate=try", "--", "sh", "-c", "echo $HTTPS_PROXY")
        assert done.returncode == 0
        assert done.stdout.startswith("http://")
        assert "user.max_net_namespaces=0" in done.stderr
        assert "without --isolate" in done.stderr


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class TestBrowser:
    @pytest.mark.skipif(BROWSER is None, reason="Chromium is not on this machine")
    def test_its_page_is_recorded_and_replayed(self, place: Place) -> None:
        """It trusts the certificate by the database that it finds, and keeps its own sandbox."""
        assert BROWSER is not None
        sandbox = () if place.user == "nobody" else ("--no-sandbox",)
        browse = (BROWSER, "--headless=new", "--disable-gpu", "--no-first-run", *sandbox)
        profile = f"--user-data-dir={place.directory}/profile"
        with secure_origin(lambda _: answer(b"<p>a page</p>"), f"*.{HOST}") as origin:
            command = (*browse, profile, "--dump-dom", f"https://shop.{HOST}:{origin.port}/page")
            recorded = place.run("--record", "--", *command)
            assert "<p>a page</p>" in recorded.stdout, recorded.stderr
        replayed = place.run("--replay", "--fail-on-miss", "--", *command)
        assert replayed.returncode == 0, replayed.stderr
        assert "<p>a page</p>" in replayed.stdout


class TestHermetic:
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        with _place("self") as place:
            yield place

    def test_no_packet_leaves_in_a_replay(self, place: Place) -> None:
        """By the counters of all interfaces, where nobody else has any traffic."""
        with secure_origin(named, f"*.{HOST}") as origin:
            names = (
                f"https://a.{HOST}:{origin.port}/1",
                "https://192.0.2.7/",
                "http://[2001:db8::8]/",
            )
            command = ("sh", "-c", 'curl -sS "$1"; curl -sS "$2"; curl -sS "$3"; :', "sh", *names)
            recorded = place.run("--", *command[:3], 'curl -sS "$1"', "sh", names[0])
            assert "1 recorded" in recorded.stderr
        line = place.line("--replay", "--report", "report.json", "--", *command)
        count = 'ip link set lo up; "$@"; cat /proc/net/dev'
        done = subprocess.run(
            ["unshare", "-Urn", "sh", "-c", count, "sh", *line],
            cwd=place.directory,
            env=place.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert f"GET a.{HOST}:{origin.port}/1" in done.stdout, done.stderr
        report = json.loads((place.directory / "report.json").read_text())
        assert (report["counts"]["hits"], report["counts"]["misses"]) == (1, 2)
        interfaces = [line.split(":") for line in done.stdout.splitlines() if ":" in line]
        counted = {
            name.strip(): [int(number) for number in numbers.split()]
            for name, numbers in (row for row in interfaces if len(row) == 2)
            if numbers.split()[0].isdigit()
        }
        assert counted["lo"] == [0] * 16
        assert not any(sum(numbers) for numbers in counted.values())


class TestCost:
    def test_a_thousand_connections_leave_nothing(self, place: Place) -> None:
        """No descriptor, no process, and no namespace but those of the command."""
        program = """
        import sys, urllib.request
        for _ in range(1000):
            with urllib.request.urlopen(sys.argv[1]) as answer:
                answer.read()
        print("ready", flush=True)
        input()
        """
        with FakeUpstream(named) as origin:
            url = f"http://a.{HOST}:{origin.port}/1"
            assert place.run("--", "curl", "-sS", url).returncode == 0
        running = place.start(
            "--replay", "--", place.python, "-c", dedent(program), url, stdin=subprocess.PIPE
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        buffr, maker, init, command = _descendants(running.pid)
        assert len(list(Path(f"/proc/{buffr}/fd").iterdir())) < 60
        spaces = {_namespace(pid) for pid in (maker, init, command)}
        assert len(spaces) == 1
        running.communicate("\n", timeout=120)
        assert running.returncode == 0
        left = {_namespace(int(one.name)) for one in Path("/proc").glob("[0-9]*")}
        assert not spaces & left


def _namespace(pid: int | str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


class TestTerminal:
    def test_an_interactive_shell_has_job_control(self, place: Place) -> None:
        """And the terminal is the caller's again afterwards."""
        main, terminal = pty.openpty()
        script = (
            "import os, subprocess, sys; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
            "done = subprocess.run(sys.argv[1:]);"
            "print('code', done.returncode, os.tcgetpgrp(0) == os.getpgrp())"
        )
        caller = [sys.executable, "-c", f"import fcntl, termios; {script}"]
        running = subprocess.Popen(
            [*caller, *place.line("--", "bash", "--norc", "--noprofile", "-i")],
            cwd=place.directory,
            env={**place.env, "PS1": "", "PS2": ""},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=False,
        )
        os.close(terminal)
        said = b""

        def until(words: bytes) -> None:
            nonlocal said
            while words not in said:
                assert select.select([main], [], [], 60)[0], said
                said += os.read(main, 4096)

        try:
            os.write(main, b"echo be''gun; exit 4\n")
            until(b"begun")
            until(b"code 4 True")
        finally:
            running.kill()
            running.wait(120)
            os.close(main)
        assert b"no job control" not in said


ASK_NAMES = """
import socket, struct

def query(name, kind):
    labels = b"".join(bytes((len(one),)) + one.encode() for one in name.split("."))
    return struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)

def over_udp(server, asked):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.connect((server, 53))
        client.send(asked)
        return client.recv(512)

def over_tcp(server, asked):
    with socket.create_connection((server, 53), 60) as client:
        client.sendall(struct.pack(">H", len(asked)) + asked)
        return client.makefile("rb").read(2 + 12)[2:]

for ask, server in ((over_udp, "192.0.2.53"), (over_udp, "2001:db8::53"), (over_tcp, "192.0.2.53")):
    for name, kind in (("a.test", 1), ("a.test", 65), ("db", 1), ("a.invalid", 28)):
        _, flags, _, count, _, _ = struct.unpack_from(">6H", ask(server, query(name, kind)))
        print(flags & 15, count)
"""


class TestNames:
    def test_every_server_is_buffr(self, place: Place) -> None:
        """By UDP and by TCP: a name has an address, no HTTPS record, and some do not exist."""
        done = place.run("--fail-on-escape", "--", place.python, "-c", ASK_NAMES)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "0 1\n0 0\n3 0\n3 0\n" * 3
