"""A survey of a model: what it is expected to do on this machine's own profiles, from calls that are timed alone.

Here is what a survey is of and what is kept of it; ``survey_process`` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from servefit.state import write_atomically


class SurveyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The survey of the model in a file of this machine, which messages name by ``model_url``."""

    model: str
    model_url: str
    trust_pickle: bool = False
    trust_code: bool = False


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that is expected to be the best on a profile, as the variables of an endpoint, and the most
    requests a second that it is expected to answer."""

    profile: str
    variables: dict[str, str]
    capacity_per_s: float


@dataclass(frozen=True, slots=True)
class SurveyFiles:
    """The files of a survey in ``folder``, beside those that it has as every job has them."""

    folder: Path

    def write_plan(self, plan: SurveyPlan) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "plan.json", msgspec.json.encode(plan))

    def plan(self) -> SurveyPlan:
        return msgspec.json.decode((self.folder / "plan.json").read_bytes(), type=SurveyPlan)

    def write_expected(self, expected: list[Expected]) -> None:
        write_atomically(self.folder / "expected.json", msgspec.json.encode(expected))

    def expected(self) -> list[Expected]:
        """Return what was found, the best first."""
        return msgspec.json.decode((self.folder / "expected.json").read_bytes(), type=list[Expected])
