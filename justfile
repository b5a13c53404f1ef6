# All commands for people: ./dev RECIPE [ARGUMENTS] (or just RECIPE, once .venv/bin is on the PATH).

set positional-arguments

export UV_PYTHON_DOWNLOADS := "never"
# uv must ignore an active virtual environment, which may be another project's
unexport VIRTUAL_ENV
# told to write no bytecode, Python compiles every file again at each start: it doubles the start of each process
unexport PYTHONDONTWRITEBYTECODE

packages := "supervision campaigns transports storage actors simulators broadside"

# list the recipes
[private]
default:
    @.venv/bin/just --list --unsorted

# install Python packages into .venv, and Tarantool and the tests' peers by apt or brew
[no-exit-message]
setup: _packages _tarantool _peers

[no-exit-message]
_tarantool:
    #!/bin/sh
    program=${TARANTOOL:-tarantool}
    command -v "$program" >/dev/null || [ -n "${TARANTOOL:-}" ] || .venv/bin/just _install tarantool tarantool || exit 1
    command -v "$program" >/dev/null || { echo "setup: TARANTOOL=$TARANTOOL is no program" >&2; exit 1; }
    echo "setup: tarantool is here: $("$program" --version | head -n 1)" >&2

# third-party servers that the transports are tested and measured against
[no-exit-message]
_peers:
    #!/bin/sh
    PATH=$PATH:/usr/sbin
    here() { command -v "$1" >/dev/null; }
    if ! here nginx; then
        .venv/bin/just _install "nginx-light libnginx-mod-http-echo" nginx || exit 1
        # the package starts a server on port 80, which we do not need
        { systemctl disable --now nginx || service nginx stop; } >/dev/null 2>&1 || true
    fi
    here nghttpd && here h2load || .venv/bin/just _install "nghttp2-server nghttp2-client" nghttp2 || exit 1
    here node || .venv/bin/just _install nodejs node || exit 1
    here systemd-analyze || .venv/bin/just _install systemd systemd || exit 1  # it judges the units of deploy/systemd
    if ! here promtool; then  # it checks the rules of deploy/prometheus
        .venv/bin/just _install prometheus prometheus || exit 1
        { systemctl disable --now prometheus prometheus-node-exporter || service prometheus stop; } >/dev/null 2>&1 || true
    fi

# libfaketime sets the clock of one process, for faults of the clock
[no-exit-message]
_faketime:
    #!/bin/sh
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1; do [ -r "$library" ] && exit 0; done
    .venv/bin/just _install libfaketime libfaketime

# install the DEBIAN packages, or the BREW package
[no-exit-message]
_install debian brew:
    #!/bin/sh
    set -eu
    say() { printf 'setup: %s\n' "$*" >&2; }
    if command -v apt-get >/dev/null; then
        say "installing $1 by apt"
        how="as root: apt-get install $1"
        if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi
        if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
            say "$1 is missing and there is no sudo here; $how"
            exit 1
        fi
        $sudo apt-get update -qq || true
        # tarantool's service starts the servers in /etc/tarantool/instances.enabled; after a first install there are none
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >/dev/null || {
            say "$1 could not be installed; $how"
            exit 1
        }
    elif command -v brew >/dev/null; then
        say "installing $2 by brew"
        brew install --quiet $2 || { say "$2 could not be installed; try: brew install $2"; exit 1; }
    else
        say "there is neither apt-get nor brew here; install $2 by hand (Tarantool: 2.6 or later)"
        exit 1
    fi

# run a node, or the demo if there is no broadside.toml (arguments: see broadside node --help)
[no-exit-message]
run-node *arguments: _ready
    @exec .venv/bin/broadside node "$@"

# fire a campaign through the running node: ./dev fire --title "breaking news" --body "..." --wait
[no-exit-message]
fire *arguments: _ready
    @exec .venv/bin/broadside fire "$@"

# run two nodes and a replicated store on this machine: import, fire, watch (SUBSCRIBERS, --stay, --nodes N)
[no-exit-message]
cluster *arguments: _ready
    @exec .venv/bin/python -m benchmarks.ring "$@"

# Four processes on two cores as well: whole nodes often wait, and with two the cores were idle a third of the time.
# run the tests (arguments go to pytest); without arguments the browser's short form too, if there is a Chromium
[no-exit-message]
test *arguments: _ready _peers
    #!/bin/sh
    .venv/bin/python -m pytest -n 4 --dist loadgroup "$@" || exit
    [ $# -eq 0 ] || exit 0
    if .venv/bin/just _has_chromium; then
        exec .venv/bin/just browser -m "not long"
    fi
    echo "test: the pages were not tested: there is no Chromium here (./dev browser installs it)" >&2

# test the pages in Chromium, against a ring of two nodes (arguments go to pytest: -k log_in, -m "not long", -s)
[no-exit-message]
browser *arguments: _ready _chromium
    @exec .venv/bin/python -m pytest tests/browser -p no:xdist --timeout 600 "$@"

# draw the README's pictures of the pages: docs/pictures (NAMES: only these)
[no-exit-message]
screenshots *names: _ready _chromium
    @exec .venv/bin/python -m tests.browser.pictures "$@"

[no-exit-message]
_has_chromium:
    #!/bin/sh
    for program in ${CHROMIUM:-chromium chromium-browser google-chrome}; do
        command -v "$program" >/dev/null && exit 0
    done
    exit 1

# the browser of the pages' tests, and a font for its pictures; elsewhere CHROMIUM=/path/to/it
[no-exit-message]
_chromium:
    @.venv/bin/just _has_chromium || .venv/bin/just _install "chromium fonts-dejavu-core" chromium

# crash every actor at every step, and draw thousands of trees and schedules; takes minutes (arguments go to pytest)
[no-exit-message]
sweep *arguments: _ready _peers
    @BROADSIDE_DRAWS=all exec .venv/bin/python -m pytest -m "sweep or hypothesis" -n auto --maxprocesses 4 --dist loadgroup --timeout 1800 "$@"

# test whole nodes against faults: ./dev system [--seed N] [--runs K] [--fault NAME] [--each] [--json]
[no-exit-message]
system *arguments: _ready _faketime
    @exec .venv/bin/python -m tests.system "$@"

# import, fire and configure with files that once broke something: is each taken or refused as it should be? (FOLDER)
[no-exit-message]
inputs *arguments: _ready
    @exec .venv/bin/python -m tests.inputs "$@"

# run campaigns back to back with random faults: is anything lost, does anything grow? (MINUTES, --seed N, --json)
[no-exit-message]
soak *arguments: _ready
    @exec .venv/bin/python -m tests.system.soak "$@"

# measure one thing: ./dev bench supervision|transport|storage|import|pipeline|networks|classes|lanes|events|peers|ring|choices|armed|forecast|bottleneck|backup [--json] [--against COMMIT]
[no-exit-message]
bench *arguments: _ready _peers
    @exec .venv/bin/python -m benchmarks "$@"

# send 25 million pushes over one connection: does its memory grow? Takes a minute and a half (--pushes N, --json)
[no-exit-message]
soak-connection *arguments: _ready
    @exec .venv/bin/python -m benchmarks.soak_connection "$@"

# check style, types, async rules, and who imports whom
[no-exit-message]
check: _ready
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    # beside each other: each is one process
    .venv/bin/python .ci/async_rules.py {{packages}} tests & rules=$!; \
        .venv/bin/mypy; types=$?; wait $rules && exit $types
    .venv/bin/lint-imports

# follow docs/deploy.md word by word, on two servers made of namespaces (needs root, Linux; not in ./dev test)
[no-exit-message]
follow-page *arguments: _ready
    @exec .venv/bin/python -m pytest -q -p no:xdist tests/deploy/follow_page.py "$@"

# run the README's two commands in a fresh Debian (needs root, Linux, debootstrap): ./dev debian [SUITE] [--tests]
[no-exit-message]
debian *arguments: _ready
    #!/bin/sh
    command -v debootstrap >/dev/null || .venv/bin/just _install debootstrap debootstrap || exit 1
    exec .venv/bin/python -m tests.deploy.debian "$@"

# build the image with Docker and live with the compose file's ring (needs Docker and Compose): ./dev containers [--base]
[no-exit-message]
containers *arguments: _ready
    @exec .venv/bin/python -m tests.deploy.engine "$@"

# run the pods of the Kubernetes manifests with Docker, after ./dev containers (needs root)
[no-exit-message]
pods: _ready
    @exec .venv/bin/python -m tests.deploy.pods

# send the API requests of every kind, by each role for some seconds: does one get an answer not in its document?
[no-exit-message]
fuzz seconds="60" seed="22": _ready
    @FUZZ_SECONDS="$1" FUZZ_SEED="$2" .venv/bin/python -m pytest -q -s -p no:xdist tests/broadside/test_api_document.py

# fetch the pages' scripts and styles of others by npm, as vendor.lock names them (needed for a new version only)
vendor: _packages
    @.venv/bin/python .ci/vendor.py

# write the pages that are made from the code: docs/cli.md, docs/metrics.md, docs/verbs.md
[no-exit-message]
reference: _ready
    @.venv/bin/python -m tests.reference

# write docs/api.md from the table of the API's routes
[no-exit-message]
api-page: _ready
    @.venv/bin/python -c 'from broadside.api.v1.reference import page; print(page(), end="")' >docs/api.md.new
    @mv docs/api.md.new docs/api.md

[no-exit-message]
_packages:
    @.venv/bin/uv sync --quiet --locked --inexact
    @cat uv.lock pyproject.toml | cksum >.venv/.dev-synced

# install packages and Tarantool if the lock has changed or one is missing
_ready:
    #!/bin/sh
    if command -v tarantool >/dev/null && [ -x .venv/bin/broadside ] &&
        [ "$(cat uv.lock pyproject.toml | cksum)" = "$(cat .venv/.dev-synced 2>/dev/null)" ]; then
        exit 0
    fi
    .venv/bin/just _packages && exec .venv/bin/just _tarantool
