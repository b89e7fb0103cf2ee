"""The JSON Schema of settings files says what the reader of settings says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
import yaml
from config_sources import loaded, refused

from buffr.config.api_buddy import read_api_buddy
from buffr.config.api_buddy_yaml import as_yaml
from buffr.config.json_schema import json_schema, schema_text
from buffr.config.model import Config
from buffr.config.schema import SCHEMA_FILE

ROOT = Path(__file__).parents[2]
validate = fastjsonschema.compile(json_schema())


def is_valid(text: str) -> bool:
    try:
        validate(yaml.safe_load(text))
    except fastjsonschema.JsonSchemaException:
        return False
    return True


def examples() -> list[Any]:
    """The settings that pages show; a stretch of them counts where its keys are of a file."""
    keys = set(json_schema()["properties"])
    found = []
    for page in sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]):
        for number, text in enumerate(
            re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        ):
            data = yaml.safe_load(text)
            if isinstance(data, dict) and data.keys() <= keys and data.keys() & ROOTS:
                found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


ROOTS = {"reverse", "gateway", "forward"}

VALID = (
    "reverse: [{target: 'http://a'}]",
    "reverse: [{target: 'HTTPS://a/v1', port: '8080', ttl: 90, mode: cache}]",
    "forward: {}",
    "forward:\nreverse: [{target: 'http://a', share: ~, limits: ~}]",
    "forward: {hosts: [{host: '*', record_statuses: [2xx, 404, '!204'], repeat: once}]}",
    "forward: {bypass: a.test, access: {key: 12345, allow: [10.0.0.0/8]}}",
    "gateway: {routes: {wiki: {target: 'http://a', ttl: 1d, ttl_by_status: {404: 1m, 5xx: 0}}}}",
    "cassettes: {file_mode: 0600}\nreverse: [{target: 'http://a'}]",
    "limits: {head_bytes: 64KiB, body_memory_bytes: 1.5 MB, connect_s: 0.5}\nforward: {}",
    "log: {format: json}\nupstream: {lenient: off}\nforward: {upstream: {lenient: true}}",
    "forward: {match: {ignore: [{in: request.body, pattern: x}], json: $.id, query: [ts, 1]}}",
)

INVALID = (
    "[]",
    "reverse: {target: 'http://a'}",
    "reverse: [{target: a.test}]",
    "reverse: [{target: 'http://a', prot: 1}]",
    "reverse: [{target: 'http://a', port: 65536}]",
    "reverse: [{target: 'http://a', port: http}]",
    "reverse: [{target: 'http://a', mode: proxy}]",
    "reverse: [{target: 'http://a', mode: cache, ttl: 0}]",
    "reverse: [{target: 'http://a', mode: cache, ttl: soon}]",
    "reverse: [{target: 'http://a', keep_host: maybe}]",
    "reverse: [{target: 'http://a', repeat: twice}]",
    "reverse: [{target: 'http://a', record_statuses: [99]}]",
    "reverse: [{target: 'http://a', record_statuses: []}]",
    "reverse: [{target: 'http://a', limits: {per_hour: 0}}]",
    "reverse: [{target: 'http://a', mode: cache, store: 'redis:a'}]",
    "reverse: [{target: 'http://a', via: 'p.test'}]",
    "reverse: [{target: 'http://a', match: {ignore: x}}]",
    "forward: {hosts: [{mode: auto}]}",
    "forward: {hosts: [{host: a, port: 1}]}",
    "forward: {target: 'http://a'}",
    "gateway: {routes: {wiki: {ttl: 1d}}}",
    "gateway: {routes: {'a b': {target: 'http://a'}}}",
    "limits: {head_bytes: 1}\nforward: {}",
    "limits: {head_bytes: 64 apples}\nforward: {}",
    "cassettes: {file_mode: '0999'}\nforward: {}",
    "log: {format: xml}\nforward: {}",
    "log: text\nforward: {}",
    "forwards: {}",
)


class TestSchema:
    @pytest.mark.parametrize("path", [SCHEMA_FILE, ROOT / "docs" / SCHEMA_FILE.name])
    def test_committed_files(self, path: Path) -> None:
        """``make docs-reference`` writes them."""
        assert path.read_text("utf-8") == schema_text()

    @pytest.mark.parametrize("text", VALID)
    def test_valid(self, text: str) -> None:
        loaded(text)
        assert is_valid(text)

    @pytest.mark.parametrize("text", INVALID)
    def test_invalid(self, text: str) -> None:
        assert refused(text)
        assert not is_valid(text)

    @pytest.mark.parametrize("text", examples())
    def test_examples(self, text: str) -> None:
        """What the pages show is valid."""
        assert is_valid(text)

    def test_own_file(self) -> None:
        """buffr.yaml is valid, and its first line leads editors to the schema."""
        text = (ROOT / "buffr.yaml").read_text("utf-8")
        assert is_valid(text)
        head = re.match(r"# yaml-language-server: \$schema=(.*)\n", text)
        assert head is not None
        assert json.loads((ROOT / head[1]).read_text("utf-8")) == json_schema()

    def test_what_buffr_writes(self) -> None:
        """Converted settings are valid, and lead editors to the schema that is installed."""
        given = {"domain_mappings": {"wiki": {"upstream": "https://a.test"}}}
        text = as_yaml(read_api_buddy(given))
        assert is_valid(text)
        assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
        assert SCHEMA_FILE.is_file()

    def test_every_setting_of_a_file_is_described(self) -> None:
        properties = json_schema()["properties"]
        assert properties["listen"]["description"].startswith("The address ")
        assert Config.__name__ not in json_schema()["definitions"]


class TestMapping:
    """``load`` takes a mapping as it takes a file."""

    @pytest.mark.parametrize("text", VALID)
    def test_alike(self, text: str) -> None:
        mapping = yaml.safe_load(text.replace("0600", "'0600'"))
        assert loaded(None, mapping=mapping) == loaded(text)

    @pytest.mark.parametrize("text", INVALID[1:])
    def test_refused_by_key_path(self, text: str) -> None:
        """Line for line as a file is, without the place in a file."""
        lines = [line.partition(": ")[2] for line in refused(text)]
        assert refused(None, mapping=yaml.safe_load(text)) == lines

    @pytest.mark.parametrize(
        ("mapping", "line"),
        [
            ({"data_dir": {1}}, "data_dir: is a Python set; must be a type that YAML or JSON has"),
            ({True: 1}, "has the key 'True'; a key must be a word"),
            (
                {"limits": {"connect_s": 1e-12}},
                "limits.connect_s: '0' must be seconds, or a time like",
            ),
            ({"limits": {"connect_s": float("nan")}}, "limits.connect_s: 'nan' must be seconds"),
            ({"data_dir": True}, "data_dir: 'true' is true or false in YAML unless"),
        ],
    )
    def test_what_no_file_can_hold(self, mapping: dict[Any, Any], line: str) -> None:
        assert refused(None, mapping={"forward": {}, **mapping})[0].startswith(line)

    def test_a_path_is_a_path(self) -> None:
        config = loaded(None, mapping={"data_dir": Path("d"), "forward": {}})
        assert config.data_dir == Path("d")

    def test_a_mapping_inside_itself(self) -> None:
        """It is refused, with the key path where it became too deep."""
        mapping: dict[str, Any] = {}
        mapping["forward"] = mapping
        assert any(line.endswith("is nested too deep") for line in refused(None, mapping=mapping))

    def test_others_count_over_it(self) -> None:
        """Variables and flags count over a mapping as over a file."""
        mapping = {"listen": "127.0.0.1", "forward": {"mode": "auto"}}
        config = loaded(None, {"BUFFR_MODE": "replay"}, {"listen": "127.0.0.2"}, mapping=mapping)
        assert config.forward is not None
        assert (config.forward.mode.value, config.listen) == ("replay", "127.0.0.2")
