"""What ``buffr run`` puts into a command's environment, and the files that it names."""

from __future__ import annotations

import ssl
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

import buffr
from buffr.commands.run.environment import VARIABLES, TrustFiles, child_environment, table
from buffr.tls.authority import Authority

FILES = TrustFiles(
    Path("/t/bundle"),
    Path("/t/added"),
    Path("/t/trust.p12"),
    Path("/t/wgetrc"),
    Path("/t/apt.conf"),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    directory = tmp_path_factory.mktemp("ca")
    now = datetime.now(UTC)
    return Authority.load_or_create(directory / "ca.pem", directory / "ca.key", now)


def of(port: int = 1, **environ: str) -> dict[str, str]:
    return child_environment(environ, "run-1", port, FILES)


class TestVariables:
    def test_all_are_there(self) -> None:
        assert set(of()) == {one.name for one in VARIABLES}

    def test_the_rest_is_as_it_was(self) -> None:
        """NO_PROXY too: what it names, the command reaches directly."""
        given = {"PATH": "/bin", "NO_PROXY": "a.test", "LANG": "C"}
        assert given.items() <= child_environment(given, "run-1", 1, FILES).items()

    def test_the_proxy_has_a_name_for_the_scope(self) -> None:
        """And a password, without which some clients send no name."""
        seen = of(4711, HTTPS_PROXY="http://proxy.test", all_proxy="socks5://proxy.test")
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        for name in (*names, *map(str.lower, names), "WS_PROXY", "WSS_PROXY"):
            assert seen[name] == "http://run-1:x@127.0.0.1:4711"

    def test_files(self) -> None:
        seen = of()
        assert seen["SSL_CERT_FILE"] == seen["CURL_CA_BUNDLE"] == "/t/bundle"
        assert seen["npm_config_cafile"] == "/t/bundle"
        assert seen["APT_CONFIG"] == "/t/apt.conf"
        assert seen["NODE_EXTRA_CA_CERTS"] == "/t/added"
        assert seen["WGETRC"] == "/t/wgetrc"

    def test_the_documentation_has_the_same_table(self) -> None:
        path = Path(buffr.__file__).parent.parent / "docs" / "how-to" / "run.md"
        assert table() in path.read_text("utf-8")


class TestJava:
    def test_what_the_variable_holds_comes_first(self) -> None:
        """So that the proxy's options, which come last, are those that count."""
        options = of(4711, JAVA_TOOL_OPTIONS="-Dmine=1 -Xmx1g")["JAVA_TOOL_OPTIONS"].split()
        assert options[:2] == ["-Dmine=1", "-Xmx1g"]
        assert "-Dhttps.proxyPort=4711" in options
        assert "-Djavax.net.ssl.trustStore=/t/trust.p12" in options

    @pytest.mark.parametrize(
        ("no_proxy", "hosts"),
        [
            ("", ""),
            ("a.test", "a.test|*.a.test"),
            (".a.test, *.b.test", "a.test|*.a.test|*.b.test"),
            ("10.0.0.1,10.0.0.0/8,a.test:80,::1", "10.0.0.1"),
            ("*", "*"),
        ],
    )
    def test_no_proxy_as_java_writes_it(self, no_proxy: str, hosts: str) -> None:
        """Empty, it takes Java to loopback addresses through the proxy too."""
        assert f" -Dhttp.nonProxyHosts={hosts} " in of(NO_PROXY=no_proxy)["JAVA_TOOL_OPTIONS"]

    def test_a_path_with_a_space(self) -> None:
        files = evolve(FILES, java=Path("/my files/trust.p12"))
        options = child_environment({}, "run-1", 1, files)["JAVA_TOOL_OPTIONS"]
        assert ' "-Djavax.net.ssl.trustStore=/my files/trust.p12" ' in options


class TestTrustFiles:
    def test_the_bundle_has_ours_and_what_stood_in_its_place(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        """What buffr tunnels unseen goes on being verified with the user's own roots."""
        theirs, nodes = tmp_path / "theirs.pem", tmp_path / "nodes.pem"
        for path in (theirs, nodes):
            trustme.CA().cert_pem.write_to_path(str(path))
        environ = {"REQUESTS_CA_BUNDLE": str(theirs), "NODE_EXTRA_CA_CERTS": str(nodes)}
        files = TrustFiles.write(tmp_path, authority, environ)
        bundle, added = files.bundle.read_text(), files.added.read_text()
        ours = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(authority.pem.decode()))
        for text, has, has_not in ((bundle, theirs, nodes), (added, nodes, theirs)):
            assert ours in text
            assert _one(has) in text
            assert _one(has_not) not in text
        assert added.count("BEGIN CERTIFICATE") == 2

    def test_javas_store_is_the_bundle(self, tmp_path: Path, authority: Authority) -> None:
        theirs = tmp_path / "theirs.pem"
        trustme.CA().cert_pem.write_to_path(str(theirs))
        files = TrustFiles.write(tmp_path, authority, {"SSL_CERT_FILE": str(theirs)})
        with warnings.catch_warnings(action="ignore"):  # some roots are very old
            held = pkcs12.load_pkcs12(files.java.read_bytes(), b"changeit")
        assert held.key is None
        certificates = [one.certificate for one in held.additional_certs]
        assert authority.certificate in certificates
        assert x509.load_pem_x509_certificate(theirs.read_bytes()) in certificates

    def test_wgets_settings_are_kept(self, tmp_path: Path, authority: Authority) -> None:
        """Those that ``WGETRC`` names, else those at home."""
        (tmp_path / ".wgetrc").write_text("tries = 1")
        files = TrustFiles.write(tmp_path, authority, {"HOME": str(tmp_path)})
        lines = files.wgetrc.read_text().splitlines()
        assert lines == ["tries = 1", f"ca_certificate = {files.bundle}"]

    def test_apts_settings_are_kept(self, tmp_path: Path, authority: Authority) -> None:
        """apt takes the last value; its own user may read the bundle, and nothing secret."""
        own = tmp_path / "own.conf"
        own.write_text('Acquire::https::CaInfo "/mine";')
        directory = tmp_path / "files"
        directory.mkdir(mode=0o700)
        files = TrustFiles.write(directory, authority, {"APT_CONFIG": str(own)})
        assert files.apt_conf.read_text().splitlines() == [
            'Acquire::https::CaInfo "/mine";',
            f'Acquire::https::CaInfo "{files.bundle}";',
        ]
        assert directory.stat().st_mode & 0o777 == 0o711
        assert files.bundle.stat().st_mode & 0o777 == 0o644
        for private in (files.apt_conf, files.wgetrc):
            assert private.stat().st_mode & 0o777 == 0o600

    def test_files_that_are_not_there_or_no_certificates(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        (tmp_path / "junk.pem").write_text("junk")
        environ = {"SSL_CERT_FILE": "none.pem", "NODE_EXTRA_CA_CERTS": str(tmp_path / "junk.pem")}
        files = TrustFiles.write(tmp_path, authority, environ)
        assert files.added.read_text().count("BEGIN CERTIFICATE") == 1


def _one(path: Path) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(path.read_text()))
