"""The bundle's ``run``: a shell script that finds or makes a Python environment and becomes the endpoint.

Becoming it, and not starting it, is what lets signals reach it: SIGTERM from systemd, Docker and Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from servefit.search.deployment.bundle.requirements import python_version
from servefit.search.deployment.bundle.secret_files import VARIABLES

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.pythons import Pythons

VENV = ".venv"

_RUN = """\
#!/bin/sh
# Starts the endpoint of this folder:   ./run [serve] [--host HOST] [--port PORT]
# Only makes its Python environment:    ./run install
# Ends with 0 where it serves:          ./run health [--host HOST] [--port PORT]
#
# Before it starts it looks whether artifact, model and code are those that were exported (SHA256SUMS).
#
# The environment lies beside this file, in @VENV@. It is made at the first start, and again when requirements.lock
# changes: from wheels/ if that is here, else from the package index. SERVEFIT_PYTHON names an interpreter that has all
# of requirements.lock already, and then none is made.
#
# Where it listens: --host and --port, else SERVEFIT_HOST, and SERVEFIT_PORT, SAGEMAKER_BIND_TO_PORT or PORT, else what
# endpoint.json says. ($HOST is not asked: some shells set it to the name of the machine.)
#
# Secrets come from the environment, else from @VARIABLES@: @SECRETS@
set -eu

here=$(dirname "$(readlink -f "$0")")
environment="$here/@VENV@"

fail() { # MESSAGE [STATUS]
    echo "run: $1" >&2
    exit "${2-4}"
}

check_files() {
    # endpoint.json, requirements.lock and this file are among the sums too, and may be edited.
    changed=$(cd "$here" && {
        LC_ALL=C grep -E '^\\\\?[0-9a-f]+  (artifact|lib|model)/' SHA256SUMS |
            LC_ALL=C sha256sum --check --quiet --strict
    } 2>/dev/null) && return
    [ -n "$changed" ] || fail "SHA256SUMS cannot be checked: it is missing or damaged, or there is no sha256sum" 2
    fail "${changed%%: FAILED*} is not what was exported; copy the bundle again, or export it anew" 2
}

find_secrets() {
    if [ -r "$here/@VARIABLES@" ]; then
        own=$(export -p)
        set -a
        . "$here/@VARIABLES@"
        set +a
        eval "$own"
    fi
    for name in @NAMES@; do
        eval '[ "${'"$name"'+set}" ]' ||
            fail "$name is not set: it is a secret, and belongs into the environment or @VARIABLES@" 2
    done
}

python_here() {
    for candidate in @NAMES_OF_PYTHON@ python3 python; do
        if "$candidate" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "@PYTHONS@".split())' \\
            >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    fail "this needs Python @PYTHON@, and there is none; install it, or name one with SERVEFIT_PYTHON"
}

is_installed() {
    [ -x "$environment/bin/python" ] && [ -f "$environment/requirements.lock" ] &&
        [ "$(cat "$environment/requirements.lock")" = "$(cat "$here/requirements.lock")" ]
}

install() {
    if is_installed; then
        return
    fi
    python=$(python_here) || exit
    # Made under another name, so that one that was cut short is never taken for whole.
    made="$environment.$$"
    trap 'rm -rf "$made"' EXIT
    trap 'exit 130' HUP INT TERM
    echo "run: making the Python environment $environment" >&2
    "$python" -m venv "$made" >&2 || fail "Python cannot make an environment here (Debian: apt install python3-venv)"
    set -- --no-deps --requirement "$here/requirements.lock"
    case $(cat "$here/requirements.lock") in
        *--hash=*) set -- --require-hashes "$@" ;;
    esac
    if [ -d "$here/wheels" ]; then
        set -- --no-index --find-links "$here/wheels" "$@"
    fi
    "$made/bin/python" -m pip --disable-pip-version-check install --quiet "$@" >&2 ||
        fail "what requirements.lock lists could not be installed"
    # Best before the folder becomes read-only, if it does
    "$made/bin/python" -m compileall -q "$here/lib" >/dev/null 2>&1 || true
    cp "$here/requirements.lock" "$made/requirements.lock"
    # Whoever else was doing the same may have been first.
    if ! is_installed; then
        rm -rf "$environment"
        mv "$made" "$environment"
    fi
    rm -rf "$made"
    trap - EXIT HUP INT TERM
}

# Asks as a client of this machine does, without proxies.
health() {
    exec "${SERVEFIT_PYTHON:-$environment/bin/python}" -P -c '
import argparse, http.client, json, sys
config = json.load(open(sys.argv[1]))
parser = argparse.ArgumentParser(prog="run health")
parser.add_argument("--host", default=sys.argv[2] or config["host"])
parser.add_argument("--port", type=int, default=sys.argv[3] or config["port"])
asked = parser.parse_args(sys.argv[4:])
try:
    connection = http.client.HTTPConnection(asked.host, asked.port, timeout=4)
    connection.request("GET", "/ping")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"run: no answer from {asked.host} port {asked.port}: {error}")
sys.exit(status != 200)
' "$here/endpoint.json" "${SERVEFIT_HOST-}" "$port" "$@"
}

port=${SERVEFIT_PORT:-${SAGEMAKER_BIND_TO_PORT:-${PORT-}}}

case "${1-serve}" in
    install)
        install
        exit
        ;;
    health)
        shift
        health "$@"
        ;;
    serve)
        shift $(($# > 0))
        ;;
esac

check_files
find_secrets

if [ -n "${SERVEFIT_PYTHON-}" ]; then
    python=$SERVEFIT_PYTHON
else
    install
    python="$environment/bin/python"
fi

if [ -n "$port" ]; then
    set -- --port "$port" "$@"
fi
if [ -n "${SERVEFIT_HOST-}" ]; then
    set -- --host "$SERVEFIT_HOST" "$@"
fi

PYTHONPATH="$here/lib"
export PYTHONPATH
exec "$python" -P -m servefit.serving "$here/endpoint.json" "$@"
"""


def run_script(secrets: Iterable[str], pythons: Pythons) -> str:
    """Return the script, for one of ``pythons``, the one that is running first, and an endpoint that needs ``secrets``,
    variables by name."""
    names = list(secrets)
    versions = sorted(pythons.versions, key=lambda version: version != python_version())
    text = _RUN.replace("@VENV@", VENV).replace("@VARIABLES@", VARIABLES).replace("@PYTHON@", pythons.text)
    text = text.replace("@PYTHONS@", " ".join(versions))
    text = text.replace("@NAMES_OF_PYTHON@", " ".join(f"python{version}" for version in versions))
    return text.replace("@NAMES@", " ".join(names)).replace("@SECRETS@", ", ".join(names) or "there are none")
