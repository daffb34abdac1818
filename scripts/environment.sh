# Sourced by scripts/demo and scripts/test. Gives them .venv, with servefit installed from this working tree, and
# moves to the repository. An environment that was made for the same pyproject.toml and the same kernel is used as it is.

find_python() {
    local name found=""
    for name in python3.11 python3.12 python3.13 python3.14 python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$name"
            return
        fi
        found="$name"
    done
    if [[ -n $found ]]; then
        echo "$found cannot make virtual environments; install its venv module (Debian: apt install $found-venv)" >&2
    else
        echo "no Python 3.11 or newer found (Debian: apt install python3 python3-venv)" >&2
    fi
    return 1
}

# install_servefit REQUIREMENT: make .venv and install REQUIREMENT ("." or ".[dev]"), unless that was done before.
install_servefit() {
    local requirement=$1 installed=.venv/installed python state
    cd "$repository"
    state="$repository $(find pyproject.toml backends/forest/kernel -type f | LC_ALL=C sort | xargs cat | sha256sum)"
    # The two scripts share the environment, and ".[dev]" includes "."
    if grep -qxF -e "$requirement $state" -e ".[dev] $state" "$installed" 2>/dev/null; then
        return
    fi
    if ! grep -qF -- "$state" "$installed" 2>/dev/null; then
        python=$(find_python)
        "$python" -m venv --clear .venv
    fi
    echo "Installing servefit into .venv; this happens once and takes about a minute" >&2
    install_with_uv "$requirement" || .venv/bin/python -m pip install --quiet --no-compile --editable "$requirement"
    # Installers compile one file at a time; all cores together, without the tests of the libraries, take an eighth of
    # the time.
    .venv/bin/python -W ignore -m compileall -qq -j 0 -x '/tests/' .venv/lib
    echo "$requirement $state" >>"$installed"
}

# install_with_uv REQUIREMENT: the same as pip in half of the time. Not where pip was told of an index of packages: uv
# would not know, and ask the public one.
install_with_uv() {
    [[ $(.venv/bin/python -m pip config list) != *index* ]] || return 1
    .venv/bin/python -m pip install --quiet --no-compile uv || return 1
    UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}} \
        .venv/bin/uv pip install --quiet --python .venv/bin/python --editable "$1"
}

# install_postgresql: make sure that there is a PostgreSQL server for the tests to start. They start their own.
install_postgresql() {
    if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; then
        return
    fi
    if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        # The package would make a cluster of its own, and start it.
        mkdir -p /etc/postgresql-common
        [[ -e /etc/postgresql-common/createcluster.conf ]] ||
            echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    install_packages "start a PostgreSQL server" postgresql
}

# install_chromium: make sure that there is a browser, with letters, for the tests to open reports in.
install_chromium() {
    if [[ ! -x /usr/bin/chromium ]]; then
        install_packages "open reports in Chromium" chromium fonts-dejavu-core
    fi
}

# install_npm: make sure that the documentation can be built: scripts/docs_diagrams.py has npm fetch what draws diagrams.
install_npm() {
    if ! command -v npm >/dev/null; then
        install_packages "draw the diagrams of the documentation" npm
    fi
}

FUZZING=(-fsanitize=fuzzer,address,undefined)

# find_fuzzing_clang: the name of a clang that comes with libFuzzer and sanitizers. Fails where there is none.
find_fuzzing_clang() {
    local name program
    program=$(mktemp)
    for name in clang clang-{25..14}; do
        if echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 4096; }' |
            "$name" "${FUZZING[@]}" -x c -o "$program" - 2>/dev/null; then
            rm -f "$program"
            echo "$name"
            return
        fi
    done
    rm -f "$program"
    return 1
}

# install_clang: make sure that the loader of artifacts can be fuzzed.
install_clang() {
    find_fuzzing_clang >/dev/null || install_packages "fuzz the loader of artifacts" clang libclang-rt-dev
}

# install_packages PURPOSE PACKAGE...: install what the tests need of Debian, or say how to.
install_packages() {
    local purpose=$1
    shift
    local install=(apt-get install --yes --quiet --no-install-recommends "$@")
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "The tests $purpose; install what they need (Debian: sudo ${install[*]})" >&2
        return 1
    fi
    echo "Installing $*: the tests $purpose" >&2
    export DEBIAN_FRONTEND=noninteractive
    "${install[@]}" >&2 || { apt-get update --quiet >&2 && "${install[@]}" >&2; }
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
