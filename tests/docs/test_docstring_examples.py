"""The examples in docstrings of public names are run, with what the other pages have made."""

from __future__ import annotations

import inspect
import re
import shutil
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from tests.docs.pages import Block
from tests.docs.running import Reader, reading
from tests.report.story import Story, configuration

import servefit as sf
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRELUDE = "import servefit as sf\njob = sf.load_job('fraud')\n"
NEEDS = {
    "load_measurement": "sf.save_measurement(sf.profile('model.ubj', users=1, duration_s=1).measurement, "
    "'measured.servefit')\n",
    "load_endpoint_runs": "with job.best.serve() as served:\n    "
    "found = sf.load_endpoint(served.url, payload='payload.csv', users=1, duration_s=1)\n"
    "sf.save_measurement(found.recorded(), 'endpoint.servefit')\n",
    "NotebookProgress": "import IPython\n",
}
"""What an example takes for granted, where its reader has to make it."""


def public() -> Iterator[tuple[str, Any]]:
    """Every public function and class, and the public methods that a job and a recommendation have of their own."""
    for name in sorted(set(sf.__all__) - {"__version__"}):
        found = getattr(sf, name)
        yield name, found
        if name in ("Job", "Recommendation"):
            for method, function in vars(found).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{name}.{method}", function


def example(found: Any) -> str | None:
    """The code below "Example:" and "::" in a docstring."""
    said = inspect.getdoc(found) or ""
    block = re.search(r"^Example:\n    ::\n\n((?:        .*\n|\n)+)", f"{said}\n", re.MULTILINE)
    return None if block is None else dedent(block[1])


def is_error(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, sf.ServefitError)


EXAMPLES = {name: code for name, found in public() if (code := example(found)) is not None}


def test_the_usual_functions_have_examples() -> None:
    assert {"recommend", "profile", "load_endpoint", "scale", "Job.plot", "Recommendation.serve"} <= EXAMPLES.keys()


def test_what_people_call_make_or_hold_has_an_example() -> None:
    """Errors have one at the base of each kind, and where they have more to tell."""
    names = {name for name, found in public() if "." not in name and not is_error(found)}
    bases = {"ServefitError", "SpecError", "ModelError", "BackendError", "MeasurementError", "SlotTaken"}
    assert (names | bases) - EXAMPLES.keys() == set()


@pytest.fixture(scope="module")
def reader(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who tries all examples in one folder, and in one Python: most take less time than a start of it. Their
    job "fraud" was measured on simulated workers."""
    place = tmp_path_factory.mktemp("examples")
    folder, state = place / "folder", place / "state"
    shutil.copytree(files, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(state))
        host = describe_host()
        story = Story.of(
            JobRequest(name="fraud"),
            model=sf.Model.load(folder / "model.ubj"),
            host=host,
            profiles=local_profiles(host)[:1],
        )
        story.compiles("xgboost")
        story.tests(configuration("xgboost"))
        story.keep()
    with reading(folder, state) as found:
        yield found


FIRST_OF_EACH = {code: name for name, code in reversed(EXAMPLES.items())}
"""A result may have the example of the function that returns it, which is run once."""


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(FIRST_OF_EACH.values()))
def test_the_example_of_a_docstring_runs(name: str, reader: Reader) -> None:
    code = f"{PRELUDE}{NEEDS.get(name, '')}{EXAMPLES[name]}"
    line = 1 + list(EXAMPLES).index(name)  # names the files of what is run
    reader.do(Block(page=f"the docstring of {name}", line=line, language="python", text=code))
