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

# lowest_python: the lowest version of Python that pyproject.toml admits, such as 3.11.
lowest_python() {
    sed -n 's/^requires-python = ">=\([0-9.]*\)"$/\1/p' "$repository/pyproject.toml"
}

# find_interpreter VERSION: a Python of that version that can make environments and compile the kernel. It may be one that
# pyenv or uv installed and that is not in the path.
find_interpreter() {
    local version=$1 candidate found=""
    while read -r candidate; do
        "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null || continue
        found=$candidate
        if "$candidate" -c 'import ensurepip, os, sysconfig, venv
open(os.path.join(sysconfig.get_path("include"), "Python.h")).close()' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done < <(
        type -ap "python$version" || true
        compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version.*/bin/python$version" || true
        compgen -G "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}/cpython-$version.*/bin/python$version"
    )
    if [[ -n $found ]]; then
        echo "$found cannot make virtual environments, or has no headers; install them" \
            "(Debian: apt install python$version-venv python$version-dev)" >&2
    else
        echo "no Python $version found in the path, or among those of pyenv and uv; install it" \
            "(pyenv install $version, or Debian: apt install python$version-venv python$version-dev)" >&2
    fi
    return 1
}

# install_servefit REQUIREMENT [ENVIRONMENT PYTHON [OPTION...]]: make ENVIRONMENT (.venv, unless it is named) and install
# REQUIREMENT ("." or ".[dev]") into it, unless that was done before. OPTION is one of uv's: pip is not asked where it is
# given. Without options the versions are those of scripts/environment.lock, or the newest where NEWEST is set.
install_servefit() {
    local requirement=$1 environment=${2:-.venv} python=${3:-} extra installed state
    local options=("${@:4}") pinned=()
    cd "$repository"
    installed=$environment/installed
    if ((!${#options[@]})) && [[ ! -v NEWEST ]]; then
        pinned=(--constraint scripts/environment.lock)
    fi
    state="$repository ${NEWEST+newest on $(date +%F) }"
    state+=$(find pyproject.toml scripts/environment.lock backends/forest/kernel backends/pipelines/kernel -type f | LC_ALL=C sort | xargs cat | sha256sum)
    # The scripts share .venv, and ".[dev]" includes "."
    if grep -qxF -e "$requirement $state" -e ".[dev] $state" "$installed" 2>/dev/null; then
        return
    fi
    if ! grep -qF -- "$state" "$installed" 2>/dev/null; then
        [[ -n $python ]] || python=$(find_python)
        "$python" -m venv --clear "$environment"
    fi
    echo "Installing servefit into $environment; this happens once and takes about a minute" >&2
    extra=${requirement//[.\[\]]/}
    if install_with_uv "$environment" "${options[@]}" "${pinned[@]}" --requirements pyproject.toml ${extra:+--extra "$extra"}; then
        compile_modules "$environment" & # while one CPU compiles the kernel
    fi
    if ! install_with_uv "$environment" "${options[@]}" "${pinned[@]}" --editable "$requirement" && {
        ((${#options[@]})) ||
            ! "$environment/bin/python" -m pip install --quiet --no-compile "${pinned[@]}" --editable "$requirement"
    }; then
        wait # nothing is written into the environment any more
        echo "servefit was not installed, for the reason above. It takes packages from where pip does: is the network there?" >&2
        return 1
    fi
    wait
    echo "$requirement $state" >>"$installed"
}

# compile_modules ENVIRONMENT: installers compile one file at a time; all cores together take an eighth of the time. The
# tests of libraries are left out, and the largest packages, of which little is imported. What does not compile is left:
# libraries bring files for newer versions of Python, as torch does, which are imported under no other.
compile_modules() {
    "$1/bin/python" -W ignore -m compileall -qq -j 0 \
        -x '/tests/|/site-packages/(matplotlib|moto|networkx|nncf|plotly|sympy|transformers)/' "$1/lib" || true
}

# install_with_uv ENVIRONMENT ARGUMENT...: the same as pip in half of the time, from where pip would get it.
install_with_uv() {
    local environment=$1 settings
    [[ -x $environment/bin/uv ]] || "$environment/bin/python" -m pip install --quiet --no-compile uv || return 1
    mapfile -t settings < <(uv_settings "$("$environment/bin/python" -m pip config list)")
    env "${settings[@]}" "$environment/bin/uv" pip install --quiet --python "$environment/bin/python" "${@:2}"
}

# uv_settings CONFIGURATION: variables that tell uv what `pip config list` told of pip. Those that are set already stay.
uv_settings() {
    local configuration=$1 pair value
    for pair in index-url:UV_DEFAULT_INDEX extra-index-url:UV_EXTRA_INDEX_URL find-links:UV_FIND_LINKS \
        no-index:UV_NO_INDEX constraint:UV_CONSTRAINT trusted-host:UV_INSECURE_HOST cert:SSL_CERT_FILE; do
        value=$(pip_setting "$configuration" "${pair%:*}")
        # uv separates links to folders by commas
        [[ $pair != find-links:* ]] || value=${value// /,}
        [[ -z $value || -v ${pair#*:} ]] || echo "${pair#*:}=$value"
    done
    # pip takes the newest version of all indexes; uv would take the first index that has the package.
    [[ -v UV_INDEX_STRATEGY ]] || echo "UV_INDEX_STRATEGY=unsafe-best-match"
}

# pip_setting CONFIGURATION NAME: what pip goes by: its variable, else what its files say of installing, or in general.
pip_setting() {
    local section value
    for section in :env: install global; do
        value=$(sed -n "s/^$section\.$2='\(.*\)'\$/\1/p" <<<"$1")
        if [[ -n $value ]]; then
            # Several are on lines of their own.
            xargs <<<"${value//\\n/ }"
            return
        fi
    done
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

# install_openssh_server: make sure that there is an SSH server for the tests to start. They start their own.
install_openssh_server() {
    local unit
    if [[ -x /usr/sbin/sshd ]] && command -v ssh >/dev/null; then
        return
    fi
    if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
        # The package would start a server of its own, which listens to everybody.
        mkdir -p /etc/systemd/system
        for unit in ssh.service ssh.socket; do
            [[ -e /etc/systemd/system/$unit || -L /etc/systemd/system/$unit ]] ||
                ln -s /dev/null "/etc/systemd/system/$unit"
        done
    fi
    install_packages "start an SSH server" openssh-server openssh-client
}

# install_iproute2: make sure that root can imitate hosts by network namespaces. The tests of others leave that out.
install_iproute2() {
    if [[ $EUID -eq 0 ]] && ! command -v ip >/dev/null; then
        install_packages "imitate hosts by network namespaces" iproute2
    fi
}

# install_nginx, install_haproxy: make sure that configurations of balancers are read by the balancers themselves. The
# packages would start them where there is a system that starts services; a balancer that was there before stays as it is.
install_nginx() {
    install_balancer nginx
}

install_haproxy() {
    install_balancer haproxy
}

install_balancer() {
    [[ ! -x /usr/sbin/$1 ]] && ! command -v "$1" >/dev/null || return 0
    install_packages "have $1 read its configuration" "$1"
    if [[ -d /run/systemd/system ]]; then
        systemctl disable --quiet --now "$1"
    fi
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

# install_zsh: make sure that there is a zsh to type into.
install_zsh() {
    command -v zsh >/dev/null || install_packages "have zsh complete commands" zsh
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
