"""The files that are others inside."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from buffr.isolate.files import Files, Hosts
from buffr.isolate.nss import write_database
from buffr.tls.authority import Authority

HOSTS = """
# names
127.0.0.1 localhost  # this one
127.0.1.1 vm app.test
::1 ip6-localhost
10.0.0.5 db db.internal
"""


class TestHosts:
    def test_those_of_the_loopback_are_kept(self) -> None:
        """A command may serve at such a name itself. Other names are looked up."""
        hosts = Hosts.of(HOSTS)
        text = hosts.text("vm")
        assert "127.0.1.1 vm app.test\n" in text
        assert "db" not in text
        assert hosts.elsewhere == ("db", "db.internal")

    def test_the_own_name_is_always_there(self) -> None:
        assert Hosts.of("").text("box").endswith("127.0.1.1 box\n")


class TestFiles:
    def test_they_are_mounted_over_what_is_there(self, tmp_path: Path) -> None:
        bundle, java = tmp_path / "bundle", tmp_path / "java"
        files = Files.within(tmp_path, bundle, java, {})
        files.write()
        targets = [one.target for one in files.mounts]
        assert len(set(targets)) == len(targets)
        assert all(target.exists() and not target.is_symlink() for target in targets)
        if Path("/etc/nsswitch.conf").exists():
            text = (tmp_path / "nsswitch.conf").read_text()
            assert [line for line in text.splitlines() if line.startswith("hosts:")] == [
                "hosts: files dns"
            ]

    @pytest.mark.skipif(shutil.which("certutil") is None, reason="certutil is not installed")
    def test_nss_reads_the_database(self, tmp_path: Path) -> None:
        pem = tmp_path / "ca.pem"
        authority = Authority.load_or_create(pem, tmp_path / "ca.key", datetime.now(UTC))
        (tmp_path / "nssdb").mkdir()
        write_database(tmp_path / "nssdb", authority.trusted)
        done = subprocess.run(
            ["certutil", "-L", "-d", f"sql:{tmp_path}/nssdb"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "buffr" in done.stdout
        assert "C,," in done.stdout
