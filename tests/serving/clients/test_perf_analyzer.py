"""NVIDIA's load generator asks the endpoint what to send, and reads the times that the server reports."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tritonclient.http import InferenceServerClient

from servefit.isolation import end_process_group

if TYPE_CHECKING:
    from tests.serving.clients.conftest import Served

pytestmark = pytest.mark.integration


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which("perf_analyzer", path=Path(sys.executable).parent)
    assert command is not None
    # What runs is a child of the command; both end where the time is over.
    child = subprocess.Popen(
        [command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        printed, complained = child.communicate(timeout=60)
    finally:
        end_process_group(child)
    return subprocess.CompletedProcess(child.args, child.returncode, printed, complained)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a run that ended well printed, the one line of its table, and what the endpoint counted meanwhile."""

    printed: str
    table: dict[str, str]
    requests: int
    rows: int


def counted(served: Served) -> tuple[int, int]:
    with InferenceServerClient(served.address) as client:
        (stats,) = client.get_inference_statistics(served.name)["model_stats"]
    return stats["inference_stats"]["success"]["count"], stats["inference_count"]


def perf_analyzer(served: Served, folder: Path, *options: str) -> Ended:
    """Windows of 200 ms, three at most; whether they agree is not asked."""
    table = folder / "table.csv"
    short = ("-p", "200", "-r", "3", "-s", "999")
    where = ("-u", served.address, "-i", "http", "-m", served.name, "-f", str(table))
    before = counted(served)
    ended = run(*where, *short, *options)
    after = counted(served)
    assert ended.returncode == 0, ended.stderr
    with table.open(newline="") as lines:
        (line,) = csv.DictReader(lines)
    return Ended(
        printed=ended.stdout,
        table=line,
        requests=after[0] - before[0],
        rows=after[1] - before[1],
    )


@pytest.mark.parametrize("form", ["binary", pytest.param("json", marks=pytest.mark.thorough)])
def test_a_run_with_tensors_in_this_form_reports_a_throughput_and_the_time_of_the_server(
    fraud: Served, tmp_path: Path, form: str
) -> None:
    ended = perf_analyzer(
        fraud, tmp_path, "--input-tensor-format", form, "--output-tensor-format", form, "--input-data", "zero"
    )

    assert "Successful request count" in ended.printed
    assert float(ended.table["Inferences/Second"]) > 0
    assert int(ended.table["Server Compute Infer"]) > 0
    assert ended.rows == ended.requests > 0


@pytest.mark.thorough
def test_several_requests_of_several_rows_at_once_are_served(species: Served, tmp_path: Path) -> None:
    several = ("-b", "4", "--concurrency-range", "3", "-a", "-x", "1", "--input-data", "random")

    ended = perf_analyzer(species, tmp_path, *several)

    assert "Batch size: 4" in ended.printed
    assert ended.table["Concurrency"] == "3"
    assert float(ended.table["Inferences/Second"]) > 0
    assert ended.rows == 4 * ended.requests > 0


def test_a_model_that_is_not_served_is_refused_in_a_sentence(fraud: Served) -> None:
    ended = run("-u", fraud.address, "-i", "http", "-m", "other")

    assert "model: 'other' is not served here, only 'fraud' is" in ended.stderr
