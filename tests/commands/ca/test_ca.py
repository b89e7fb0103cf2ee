"""The ``buffr ca`` command: what it prints, where the CA is, and what it says when it cannot."""

from __future__ import annotations

import os
import pty
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from buffr.commands.ca.hints import HINTS, Places, hint_text
from buffr.commands.cli import run

ROOT = Path(__file__).parents[3]
RUNTIMES = (
    *("curl", "wget", "requests", "httpx", "aiohttp", "node", "npm", "pip", "uv", "poetry"),
    *("cargo", "go", "java", "ruby", "dotnet", "git", "docker", "debian", "apt", "alpine"),
    *("macos", "windows", "chromium", "firefox"),
)
COMMAND = [sys.executable, "-m", "buffr", "ca"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and an environment that says nothing."""
    for name in [*os.environ]:
        if name.startswith("BUFFR_") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Output = pytest.CaptureFixture[bytes]


def _run(capfdbinary: Output, *arguments: str) -> bytes:
    """Its standard output; it must have gone well."""
    code = run(["ca", *arguments])
    output = capfdbinary.readouterr()
    assert code == 0, output.err
    return output.out


def _fail(capfdbinary: Output, *arguments: str) -> str:
    """Its one line on standard error; it must have failed."""
    code = run(["ca", *arguments])
    output = capfdbinary.readouterr()
    assert (code, output.out) == (1, b"")
    assert output.err.startswith(b"buffr: ")
    assert output.err.count(b"\n") == 1
    return output.err.decode()


class TestTheFormats:
    def test_pem(self, place: Path, capfdbinary: Output) -> None:
        """The certificate, which is made by the first call and the same in the second."""
        first = _run(capfdbinary)
        assert x509.load_pem_x509_certificate(first)
        assert (place / "buffr-ca.pem").read_bytes() == first
        assert _run(capfdbinary, "--format", "pem") == first

    def test_der(self, capfdbinary: Output) -> None:
        """The same in binary."""
        pem = _run(capfdbinary)
        der = _run(capfdbinary, "--format=der")
        assert der == x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    @pytest.mark.parametrize("password", ["changeit", "other than that"])
    def test_p12(self, capfdbinary: Output, password: str) -> None:
        """A store with the certificate and without a key, under the password."""
        pem = _run(capfdbinary)
        more = [] if password == "changeit" else ["--password", password]
        store = pkcs12.load_pkcs12(_run(capfdbinary, "-f", "p12", *more), password.encode())
        assert store.key is None
        assert [one.certificate for one in store.additional_certs] == [
            x509.load_pem_x509_certificate(pem)
        ]

    @pytest.mark.skipif(not shutil.which("keytool"), reason="there is no Java here")
    def test_p12_is_a_trust_store_for_java(self, place: Path, capfdbinary: Output) -> None:
        """Java takes for trusted only what is marked so."""
        (place / "ca.p12").write_bytes(_run(capfdbinary, "--format", "p12"))
        command = ["keytool", "-list", "-keystore", "ca.p12", "-storepass", "changeit"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "trustedCertEntry" in listed
        fingerprint = _run(capfdbinary, "--fingerprint").decode().strip()
        assert fingerprint in listed

    def test_bundle(self, place: Path, capfdbinary: Output) -> None:
        """The system's roots and ours, each once, as a client loads them."""
        pem = _run(capfdbinary)
        bundle = _run(capfdbinary, "--format", "bundle").decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=bundle)
        loaded = context.get_ca_certs(binary_form=True)
        assert len(loaded) == len(set(loaded)) > 20
        assert bundle.endswith(pem.decode())

    def test_bundle_has_what_the_environment_names(
        self, place: Path, capfdbinary: Output, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It takes the place of that file, whose roots go on being trusted; ours is there once."""
        other = _run(capfdbinary, "--cert", "other.pem", "--key", "other.key")
        ours = _run(capfdbinary)
        (place / "mine.pem").write_bytes(other + ours)
        monkeypatch.setenv("SSL_CERT_FILE", str(place / "mine.pem"))
        bundle = _run(capfdbinary, "--format", "bundle")
        assert other in bundle
        assert bundle.count(ours) == 1
        assert bundle.endswith(ours)

    def test_fingerprint(self, place: Path, capfdbinary: Output) -> None:
        """As openssl shows it."""
        fingerprint = _run(capfdbinary, "--fingerprint").decode().strip()
        command = ["openssl", "x509", "-in", "buffr-ca.pem", "-noout", "-fingerprint", "-sha256"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert shown.strip().endswith("=" + fingerprint)


class TestWhereItIs:
    @pytest.mark.parametrize(
        ("environ", "flags", "cert", "key"),
        [
            ({}, [], "buffr-ca.pem", "buffr-ca.key"),
            ({"BUFFR_DATA_DIR": "d"}, [], "d/buffr-ca.pem", "d/buffr-ca.key"),
            ({"BUFFR_DATA_DIR": "d"}, ["--data-dir", "e"], "e/buffr-ca.pem", "e/buffr-ca.key"),
            ({"BUFFR_CA_CERT": "x/c", "BUFFR_CA_KEY": "y/k"}, [], "x/c", "y/k"),
            ({"BUFFR_CA_CERT": "x", "BUFFR_DATA_DIR": "d"}, [], "x", "d/buffr-ca.key"),
            ({"BUFFR_CA_CERT": "x", "BUFFR_CA_KEY": "y"}, ["--cert=c", "--key=k"], "c", "k"),
            ({"BUFFR_CA_CERT": "", "BUFFR_DATA_DIR": ""}, [], "buffr-ca.pem", "buffr-ca.key"),
            ({}, ["--config", "buffr.yaml"], "f/buffr-ca.pem", "f/buffr-ca.key"),
            ({"BUFFR_CONFIG": "buffr.yaml"}, ["--key", "k"], "f/buffr-ca.pem", "k"),
        ],
    )
    def test_is_said_by_flags_environment_and_file(
        self,
        place: Path,
        capfdbinary: Output,
        monkeypatch: pytest.MonkeyPatch,
        environ: dict[str, str],
        flags: list[str],
        cert: str,
        key: str,
    ) -> None:
        """In this order; the directories are made."""
        settings = "data_dir: f\nreverse: [{target: 'https://api.example.com'}]\n"
        (place / "buffr.yaml").write_text(settings, encoding="utf-8")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        printed = _run(capfdbinary, *flags)
        assert (place / cert).read_bytes() == printed
        assert (place / key).stat().st_mode & 0o777 == 0o600

    def test_is_said_once_it_is_made(self, capfdbinary: Output) -> None:
        """Beside the output, by the call that makes it, and not by the next."""
        assert run(["ca"]) == 0
        assert b"made buffr-ca.pem" in capfdbinary.readouterr().err
        assert run(["ca"]) == 0
        assert capfdbinary.readouterr().err == b""


class TestHints:
    def test_are_for_all_of_these(self, capfdbinary: Output) -> None:
        """And ``list`` names them."""
        assert tuple(hint.runtime for hint in HINTS) == RUNTIMES
        listed = _run(capfdbinary, "--install-hint", "list").decode()
        assert tuple(line.split()[0] for line in listed.splitlines()) == RUNTIMES

    def test_of_the_list_make_no_ca(self, place: Path, capfdbinary: Output) -> None:
        """Looking is free."""
        _run(capfdbinary, "--install-hint", "list")
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize("runtime", RUNTIMES)
    def test_are_shell_with_true_paths(
        self, place: Path, capfdbinary: Output, runtime: str
    ) -> None:
        """A shell can read them; what they name is there, or is made by them."""
        hint = _run(capfdbinary, "-i", runtime, "--data-dir", "a dir").decode()
        subprocess.run(["sh", "-n"], input=hint, text=True, check=True)
        assert (place / "a dir" / "buffr-ca.pem").exists()
        assert f"{place}/a dir/buffr-ca" in hint
        assert "{" not in hint

    def test_work_in_a_shell(self, place: Path, capfdbinary: Output) -> None:
        """``eval`` makes the bundle and sets the variable, with the flags that were given."""
        hint = _run(capfdbinary, "--install-hint", "httpx", "--data-dir", "d").decode()
        (place / "buffr").write_text(f'#!/bin/sh\nexec {sys.executable} -m buffr "$@"\n')
        (place / "buffr").chmod(0o755)
        environ = {"PATH": f"{place}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        script = hint + 'printf %s "$SSL_CERT_FILE"\n'
        done = subprocess.run(
            ["sh", "-e"], input=script, capture_output=True, text=True, check=True, env=environ
        )
        assert done.stdout == f"{place}/d/buffr-ca-bundle.pem"
        assert Path(done.stdout).read_bytes().endswith((place / "d/buffr-ca.pem").read_bytes())

    def test_that_do_not_exist_are_refused(self, place: Path, capfdbinary: Output) -> None:
        """With those that do; nothing is made."""
        assert "known: curl, wget, requests" in _fail(capfdbinary, "--install-hint", "cobol")
        assert list(place.iterdir()) == []

    def test_quote_what_a_shell_would_read(self) -> None:
        """A path is never a command."""
        places = Places.beside(Path("/x y;$(z)/ca.pem"), ["--cert", "/x y;$(z)/ca.pem"], "a'b c")
        text = hint_text("git", places)
        assert "'/x y;$(z)/buffr-ca-bundle.pem'" in text
        assert "buffr ca --cert '/x y;$(z)/ca.pem' --format bundle" in text


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--format", "jks"], "--format: 'jks' must be pem, der, p12 or bundle"),
            (["--frmat", "pem"], "no flag '--frmat'; did you mean '--format'?"),
            (["der"], "ca: unexpected argument 'der'"),
            (["--password", "", "--format", "p12"], "--password: must not be empty"),
            (["--config", "absent.yaml"], "absent.yaml: cannot be read"),
            (["--cert", "/dev/null/x.pem"], "the CA cannot be made"),
        ],
    )
    def test_is_one_line(self, capfdbinary: Output, arguments: list[str], message: str) -> None:
        """On standard error, with exit code 1."""
        assert message in _fail(capfdbinary, *arguments)

    def test_with_the_ca_is_one_line(self, place: Path, capfdbinary: Output) -> None:
        """A key for all to read, and then no key at all."""
        _run(capfdbinary)
        (place / "buffr-ca.key").chmod(0o644)
        assert "run: chmod 600 buffr-ca.key" in _fail(capfdbinary)
        (place / "buffr-ca.key").unlink()
        assert "the CA has buffr-ca.pem but not buffr-ca.key" in _fail(capfdbinary)

    def test_with_a_full_disk_is_one_line(self) -> None:
        """What was not written is not taken for done."""
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == b"buffr: standard output: No space left on device"

    def test_with_a_reader_that_leaves_is_silent(self) -> None:
        """``buffr ca | true`` is not an error worth reporting."""
        read, write = os.pipe()
        os.close(read)
        command = [*COMMAND, "--format", "bundle"]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
        os.close(write)
        assert b"Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_with_binary_in_a_terminal_is_said(self, place: Path) -> None:
        """Nothing is sent to it, and nothing made."""
        master, slave = pty.openpty()
        command = [*COMMAND, "--format", "p12"]
        done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, check=False)
        os.close(slave)
        os.close(master)
        assert done.returncode == 1
        assert b"p12 is binary, and no terminal shows it" in done.stderr
        assert list(place.iterdir()) == []


class TestTheShell:
    def test_may_send_the_certificate_onto_itself(self, place: Path) -> None:
        """``buffr ca > buffr-ca.pem``, twice: the file holds the CA that signs."""
        for _ in range(2):
            with (place / "buffr-ca.pem").open("wb") as emptied:
                subprocess.run(COMMAND, stdout=emptied, stderr=subprocess.PIPE, check=True)
            shown = subprocess.run(COMMAND, capture_output=True, check=True)
            assert (place / "buffr-ca.pem").read_bytes() == shown.stdout
            assert shown.stderr == b""

    def test_lists_the_command(self) -> None:
        """``buffr --help`` names it, and it has a help of its own."""
        command = [sys.executable, "-m", "buffr"]
        usage = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
        assert "\n  ca  " in usage.stdout
        own = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
        assert "--install-hint" in own.stdout
