"""Backends of other packages: their errors are reported as theirs, and none of their code runs in this process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from textwrap import indent
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from servefit.backends.checking.steps import compile_artifact, predict_candidate
from servefit.backends.compilation import compile_model, is_cached
from servefit.backends.finding import foreign
from servefit.backends.finding.capabilities import ask_backends, backend
from servefit.backends.finding.questions import Answers, answer
from servefit.backends.finding.registry import BUILT_IN, backend_names
from servefit.backends.types import Artifact, Availability, Knob, Target
from servefit.errors import BackendUnavailable, CompileFailed
from servefit.plug_ins import Package

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model

pytestmark = pytest.mark.integration

Install = Callable[[str, str, str], None]

METHODS = {
    "probe": "def probe(self, target=Target.CPU): return Availability.yes('1.0')",
    "supports": "def supports(self, model): return Availability.yes()",
    "knobs": "def knobs(self, model, vcpus, target=Target.CPU): return ()",
    "compile_estimate_s": "def compile_estimate_s(self, model): return 0.1",
    "cache_key": "def cache_key(self): return ''",
    "compile": "def compile(self, model, target, workdir): return {}",
}

_numbers = count()


def source(*, first: str = "", name: str = "broken", **methods: str) -> str:
    """A module with a whole backend, in which ``methods`` are replaced, and which begins with ``first``."""
    body = "\n".join((METHODS | methods).values())
    return f"""{first}
from servefit.backends.types import Availability, Knob, Target
class Backend:
    name = {name!r}
{indent(body, "    ")}
"""


def reason(availability: Availability) -> str:
    return str(availability.reason)


def answers(install: Install, module: str, model: Model | None = None, *, attribute: str = "Backend") -> Answers:
    """What the child says that imports ``module``, without the child."""
    package = Package(name="servefit-broken", version="1.0", folder="")
    install("broken", f"broken_backend_{next(_numbers)}:{attribute}", module)
    return msgspec.json.decode(answer("broken", package, model, 2), type=Answers)


IMPORTS = {
    "raise ZeroDivisionError('by nothing')": ":Backend' raised ZeroDivisionError: by nothing",
    "import a_library_that_nobody_has": "No module named 'a_library_that_nobody_has'",
    "class Odd(BaseException): pass\nraise Odd('of its own')": ":Backend' raised Odd: of its own",
    "import sys; sys.exit(3)": ":Backend' raised SystemExit: 3",
    "import os; os._exit(3)": "it ended with status 3",
    "import ctypes; ctypes.string_at(0)": "it crashed with SIGSEGV",
    "held = bytearray(2**40)": ":Backend' raised MemoryError",
    "is this Python?": ":Backend' raised SyntaxError",
    "raise ValueError('several\\nlines\\x1b[31m')": ":Backend' raised ValueError: several lines[31m",
}


def test_a_package_that_cannot_be_imported_is_a_backend_that_says_so(install: Install) -> None:
    names = [f"broken{nth}" for nth in range(len(IMPORTS))]
    for name, first in zip(names, IMPORTS, strict=True):
        install(name, f"{name}_backend:Backend", source(first=first))
    for found, told in zip(ask_backends(names).values(), IMPORTS.values(), strict=True):
        on_cpu = found.probe()
        assert not on_cpu.available
        assert told in reason(on_cpu)
        assert f"(package {found.name} 1.0)" in reason(on_cpu)
        assert on_cpu.remedy == f"update or uninstall {found.name}"
        assert "\n" not in reason(on_cpu)
    assert not {f"{name}_backend" for name in names} & sys.modules.keys()


def test_a_package_that_hangs_is_given_up(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "TIMEOUT_S", 1.0)
    install("broken", "broken_backend:Backend", source(first="import time; time.sleep(3600)"))
    assert "did not say within 1 s what it can do" in reason(backend("broken").probe())


@pytest.mark.thorough
def test_packages_that_hang_are_waited_for_together(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "TIMEOUT_S", 2.0)
    names = [f"hanging{nth}" for nth in range(8)]
    for name in names:
        install(name, f"{name}_backend:Backend", source(name=name, first="import time; time.sleep(3600)"))
    begin = time.monotonic()
    assert not any(candidate.probe().available for candidate in ask_backends(names).values())
    assert time.monotonic() - begin < len(names) * foreign.TIMEOUT_S


def test_what_a_package_prints_is_not_seen(install: Install, capfd: pytest.CaptureFixture[str]) -> None:
    install("broken", "broken_backend:Backend", source(first="print('look at me', flush=True)"))
    assert backend("broken").probe().available
    assert capfd.readouterr() == ("", "")


ENTRIES = {
    "Nothing": "has no attribute 'Nothing'",
    "INSTANCE": "is a Backend, and not a class of backends",
    "make_class": "makes a type, and not a backend",
    "Needy": "TypeError",
    "Other": "is called 'other', and not 'broken'",
    "Nameless": "Nameless' object has no attribute 'name'",
}


@pytest.mark.parametrize("attribute", ENTRIES)
def test_an_entry_point_to_something_else_is_told(install: Install, attribute: str) -> None:
    others = """
INSTANCE = Backend()
def make_class(): return Backend
class Needy(Backend):
    def __init__(self, argument): pass
class Other(Backend):
    name = "other"
class Nameless: pass
"""
    found = answers(install, source() + others, attribute=attribute).targets[Target.CPU]
    assert not found.available
    assert ENTRIES[attribute] in reason(found)


PROBES = {
    "def probe(self, target): raise OSError('no device')": "its probe raised OSError: no device",
    "def probe(self): return Availability.yes()": "its probe raised TypeError",
    "def probe(self, target): return None": "its probe gave a NoneType, and not an Availability",
    "def probe(self, target): return True": "its probe gave a bool, and not an Availability",
    "def probe(self, target): return Availability(available=1)": "its probe gave an Availability whose available",
    "def probe(self, target): return Availability.yes(3)": "its probe gave an Availability whose version",
}


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_that_keeps_no_promise_is_a_no(install: Install, probe: str) -> None:
    found = answers(install, source(probe=probe)).targets[Target.CPU]
    assert not found.available
    assert PROBES[probe] in reason(found)


QUESTIONS = {
    "def supports(self, model): raise KeyError('trees')": "its supports raised KeyError: 'trees'",
    "def supports(self): return Availability.yes()": "its supports raised TypeError",
    "def supports(self, model): return 'yes'": "its supports gave a str, and not an Availability",
    "def knobs(self, model): return ()": "its knobs raised TypeError",
    "def knobs(self, model, vcpus, target): return None": "its knobs gave a NoneType, and not a tuple of Knobs",
    "def knobs(self, model, vcpus, target): return ('threads',)": "its knobs gave a str, and not a Knob",
    "def knobs(self, model, vcpus, target): return (Knob(name='threads', values=()),)": "a Knob without values",
    "def knobs(self, model, vcpus, target): return (Knob(name='threads', values=(1, 0)),)": "threads: 0",
    "def knobs(self, model, vcpus, target): return (Knob(name='a', values=(1.5,)),)": "a float as a value of a",
    "def knobs(self, model, vcpus, target): return (Knob(name=3, values=(1,)),)": "a Knob whose name is a int",
    "def knobs(self, model, vcpus, target): return 2 * (Knob(name='a', values=(1,)),)": "two Knobs called a",
    "def compile_estimate_s(self, model): return -1.0": "its compile_estimate_s gave -1.0, and not seconds",
    "def compile_estimate_s(self, model): return float('nan')": "its compile_estimate_s gave nan, and not seconds",
    "def compile_estimate_s(self, model): return None": "its compile_estimate_s gave a NoneType",
    "def cache_key(self): return None": "its cache_key gave a NoneType, and not a str",
}


@pytest.mark.parametrize("method", QUESTIONS)
def test_a_backend_that_answers_nonsense_takes_no_model(install: Install, model: Model, method: str) -> None:
    name = method.removeprefix("def ").partition("(")[0]
    about = answers(install, source(**{name: method}), model).model
    assert about is not None
    assert not about.supported.available
    assert QUESTIONS[method] in reason(about.supported)
    assert "(package servefit-broken 1.0)" in reason(about.supported)


def test_one_child_process_answers_all_questions(
    install: Install, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORTS", str(tmp_path / "imports"))
    noting = "import os; open(os.environ['IMPORTS'], 'a').write('imported ')"
    knobs = "def knobs(self, model, vcpus, target): return (Knob(name='threads', values=tuple(range(1, vcpus + 1))),)"
    install("broken", "broken_backend:Backend", source(first=noting, knobs=knobs))
    for _ in range(3):
        found = ask_backends(["broken"], model)["broken"]
        assert found.probe(Target.CPU).version == "1.0"
        assert found.probe(Target.CUDA).available
        assert found.supports(model).available
        assert found.knobs(model, 2) == (Knob(name="threads", values=(1, 2)),)
        assert found.knobs(model, 1, Target.CUDA) == (Knob(name="threads", values=(1,)),)
        assert found.compile_estimate_s(model) == pytest.approx(0.1)
        assert found.cache_key() == ""
        assert not is_cached(model, "broken")
    assert (tmp_path / "imports").read_text() == "imported "


def test_a_backend_is_not_asked_before_somebody_wants_to_know(install: Install, tmp_path: Path) -> None:
    install("broken", "broken_backend:Backend", source(first=f"open({str(tmp_path / 'imports')!r}, 'w')"))
    assert "broken" in backend_names()
    assert backend("broken").name == "broken"
    assert not (tmp_path / "imports").exists()


def test_an_entry_point_file_that_cannot_be_read_hides_no_other(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("damaged", "damaged_backend:Backend", source())
    damaged = tmp_path / "package-damaged" / "damaged-1.0.dist-info" / "entry_points.txt"
    install("whole", "whole_backend:Backend", source(name="whole"))
    for content in (b"[servefit.backends]\nno equals sign\n", b"\xff\xfe"):
        damaged.write_bytes(content)
        assert backend_names() == (*BUILT_IN, "whole")
        assert backend("whole").probe().available
    assert (
        f"the entry points of damaged 1.0, installed in {tmp_path / 'package-damaged'}, cannot be read" in caplog.text
    )


OWN_ERROR = """
from servefit.errors import {kind}
class OwnError({kind}):
    pass
class Detail(str):
    pass
"""


def test_an_error_class_of_the_package_is_not_imported_to_be_told(install: Install, model: Model) -> None:
    failing = """def compile(self, model, target, workdir):
    error = OwnError('broken', 'no compiler')
    error.detail = Detail('of its own')
    raise error"""
    install("broken", "broken_backend:Backend", source(first=OWN_ERROR.format(kind="CompileFailed"), compile=failing))
    with pytest.raises(CompileFailed, match="broken: no compiler"):
        compile_model(model, "broken")
    assert "broken_backend" not in sys.modules


FACTS = {
    "None": "its compile gave a NoneType, and not a mapping of facts",
    "{'path': workdir}": "its facts are no JSON values",
    "{'value': float('nan')}": "its facts are no JSON values",
}


@pytest.mark.parametrize("facts", FACTS)
def test_facts_that_cannot_be_kept_are_a_failed_compilation(
    install: Install, model: Model, facts: str, tmp_path: Path
) -> None:
    name = f"broken{next(_numbers)}"
    compiling = f"def compile(self, model, target, workdir): return {facts}"
    install(name, f"{name}_backend:Backend", source(compile=compiling))
    with pytest.raises(CompileFailed, match=FACTS[facts]):
        compile_artifact(name, model, Target.CPU, tmp_path)


def test_facts_leave_the_child_as_plain_values(install: Install, model: Model, tmp_path: Path) -> None:
    name = f"broken{next(_numbers)}"
    compiling = "def compile(self, model, target, workdir): return {'value': Detail('x')}"
    first = OWN_ERROR.format(kind="CompileFailed")
    install(name, f"{name}_backend:Backend", source(first=first, compile=compiling))
    facts = compile_artifact(name, model, Target.CPU, tmp_path)
    assert (facts, type(facts["value"])) == ({"value": "x"}, str)


PREDICTIONS = {
    "None": "its predictor gives a NoneType, and not an array of numbers",
    "[Odd()] * len(rows)": "its predictor gives a list, and not an array of numbers",
    "np.array([Odd()] * len(rows), dtype=object)": "an array of object, and not of numbers",
}


@pytest.mark.parametrize("predictions", PREDICTIONS)
def test_predictions_that_are_none_are_a_failed_compilation(
    install: Install, model: Model, predictions: str, tmp_path: Path
) -> None:
    name = f"broken{next(_numbers)}"
    predictor = f"""
class Odd: pass
class Predictor:
    def predict(self, rows): return {predictions}
    def close(self): pass
"""
    loading = "def load(self, artifact, settings): return Predictor()"
    module = source(first="import numpy as np") + f"    {loading}\n{predictor}"
    install(name, f"{name}_backend:Backend", module)
    artifact = Artifact(backend=name, backend_version="", model_digest=model.digest, target=Target.CPU, folder=tmp_path)
    with pytest.raises(CompileFailed, match=PREDICTIONS[predictions]):
        predict_candidate(artifact, [np.zeros((2, 5), dtype=np.float32)])


def test_what_is_wrong_with_a_backend_is_why_it_does_not_compile(install: Install, model: Model) -> None:
    install("broken", "broken_backend:Backend", source(first="import sys; sys.exit(3)"))
    with pytest.raises(BackendUnavailable, match="SystemExit: 3") as caught:
        compile_model(model, "broken")
    assert caught.value.remedy == "update or uninstall broken"


def test_children_that_nobody_waited_for_end_with_the_process(install: Install) -> None:
    install("broken", "broken_backend:Backend", source(first="import time; time.sleep(3600)"))
    script = (
        "from servefit.backends.finding import capabilities, foreign\n"
        "foreign.TIMEOUT_S = 3600.0\n"
        "capabilities.ask_backends(['broken'])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
