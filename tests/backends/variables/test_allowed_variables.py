"""The list of variables that others may set: what is on it, what its values are, and that nothing else is taken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.variables.allowed_variables import ALLOWED, check_variables, own_or_listed
from servefit.backends.variables.secret import hidden
from servefit.errors import SpecError

LOADERS = (
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH",
    "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES", "SSLKEYLOGFILE",
    "GCC_EXEC_PREFIX", "COMPILER_PATH", "CPATH", "LIBRARY_PATH", "DEPENDENCIES_OUTPUT", "CC", "CXX", "CFLAGS",
    "OMP_TOOL_LIBRARIES", "OMP_TOOL_VERBOSE_INIT", "OMP_AFFINITY_FORMAT", "OMP_DISPLAY_ENV",
    "DNNL_JIT_DUMP", "ONEDNN_JIT_DUMP", "MKL_VERBOSE_OUTPUT_FILE", "MKL_THREADING_LAYER", "KMP_CPUINFO_FILE",
    "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "BASH_ENV", "ENV", "PATH", "HOME", "TMPDIR", "SERVEFIT_HOME",
    "SERVEFIT_STORAGE", "CUDA_VISIBLE_DEVICES", "CUDA_INJECTION64_PATH", "OCL_ICD_VENDORS", "MALLOC_CONF",
    "MALLOC_TRACE", "TORCHINDUCTOR_CACHE_DIR", "HF_HOME", "OPENVINO_LIB_PATHS", "http_proxy", "",
)  # fmt: skip
"""Variables by which something is loaded, written or fetched. No list of them is complete, and so they are not listed
in servefit."""


def refused(name: str, value: str = "1", **options: object) -> SpecError:
    with pytest.raises(SpecError) as caught:
        check_variables([(name, value)], remedy="say {name} yourself", **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("name", LOADERS)
def test_a_variable_that_does_more_than_tune_is_refused_by_name_with_the_remedy(name: str) -> None:
    error = refused(name, "/tmp/evil.so")
    assert (error.field, error.value, error.remedy) == ("env", name, f"say {name} yourself")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_is_taken_that_is_not_on_the_list(name: str, value: str) -> None:
    if name not in ALLOWED:
        refused(name, value)


@given(st.sampled_from(sorted(ALLOWED)), st.text(st.characters(codec="ascii"), min_size=1, max_size=20))
def test_no_name_is_taken_that_only_begins_like_one_of_the_list(name: str, more: str) -> None:
    if f"{name}{more}" not in ALLOWED:
        refused(f"{name}{more}")


@pytest.mark.parametrize("name", ALLOWED)
def test_no_value_is_a_path_a_list_of_paths_or_several_lines(name: str) -> None:
    for value in ("/tmp/x", "./x", "../x", "x.so", "~/x", "a\nb", "1\n", "\0", "", "1" * 2000, "$(id)", "x;y", "x/1"):
        refused(name, value)


@given(st.sampled_from(sorted(ALLOWED)), st.text(max_size=30))
def test_whatever_value_is_taken_names_no_file(name: str, value: str) -> None:
    if ALLOWED[name].values.take(value):
        assert re.fullmatch(r"[A-Za-z0-9_ ,:{}()\[\]=@~*&!-]+", value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "4"),
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("OMP_PLACES", "{0:4},{4:4}"),
        ("OMP_PLACES", "cores(4)"),
        ("OMP_PROC_BIND", "close,spread"),
        ("OMP_SCHEDULE", "static,4"),
        ("OMP_STACKSIZE", "16M"),
        ("GOMP_CPU_AFFINITY", "0-3 8"),
        ("KMP_AFFINITY", "granularity=fine,compact,1,0"),
        ("KMP_BLOCKTIME", "infinite"),
        ("MKL_CBWR", "AVX2,STRICT"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MODEL_SERVER_WORKERS", "2"),
    ],
)
def test_the_knobs_of_the_runtimes_are_taken(name: str, value: str) -> None:
    check_variables([(name, value)], remedy="")


def test_each_name_has_a_reason() -> None:
    assert all(variable.reason and variable.values.text for variable in ALLOWED.values())


def test_what_the_user_of_the_machine_names_is_taken_whatever_its_value_is() -> None:
    check_variables([("MY_MODE", "/any/path"), ("OMP_NUM_THREADS", "1")], ("MY_MODE",), remedy="")


def test_a_wrong_value_is_not_repeated_and_says_what_is_right() -> None:
    assert str(refused("OMP_NUM_THREADS", "\x1b[2J")) == (
        "env: 'OMP_NUM_THREADS' takes a whole number above zero, and not what it is given"
    )


def test_the_value_of_a_secret_is_held_against_the_list_as_it_is_and_not_as_it_is_shown() -> None:
    [secret] = hidden(["/tmp/evil"])
    refused("OMP_PLACES", secret)
    check_variables([("OMP_NUM_THREADS", hidden(["3"])[0])], remedy="")


def test_a_description_sets_what_is_listed_and_leaves_the_rest_to_the_environment() -> None:
    described = (("OMP_NUM_THREADS", "2"), ("PATH", "/tmp/evil"))
    own = {"PATH": "/usr/bin", "OMP_NUM_THREADS": "9"}
    assert set(own_or_listed(described, own)) == {("OMP_NUM_THREADS", "2"), ("PATH", "/usr/bin")}
    with pytest.raises(SpecError, match=r"'LD_PRELOAD' .*set LD_PRELOAD in the environment"):
        own_or_listed((("LD_PRELOAD", "x.so"),), {"PATH": "/usr/bin"})
