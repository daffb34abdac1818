"""A job as a Python user holds it: it shows, reports and serves itself.

What a job found is in ``search.jobs.job``; this adds what a person does with it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from servefit.errors import SpecError
from servefit.search.jobs.job import RecommendationJob
from servefit.search.results import recommendation
from servefit.showing import MOST_LETTERS, cut, shown

if TYPE_CHECKING:
    from servefit.search.deployment.served import ServedEndpoint


@shown("id", "profile", "trial", "max_invocations", "cost_per_hour")
class Recommendation(recommendation.Recommendation):
    """A recommendation that can be served on this host."""

    __slots__ = ()

    def serve(self, *, name: str | None = None, host: str = "127.0.0.1", port: int = 0) -> ServedEndpoint:
        """Serve the model here as recommended, at ``host`` and ``port`` (0: any that is free), in the envelope of the
        profile; give the endpoint once it is ready. It goes on until its ``stop()``, or serves while a block lasts::

            with job.best.serve() as endpoint:
                print(endpoint.url)

        ``name`` is what the model is called in URLs. Raises SpecError where this host cannot be the profile or an
        address cannot be listened on, CorruptModel where the model has changed, BackendError and MeasurementError.
        """
        from servefit.search.deployment.deployable import deployable
        from servefit.search.deployment.served import serve

        if self.model is None or self.measured_on is None:
            raise SpecError("recommendation", self.id, "is of no job, so there is no model to serve")
        return serve(deployable(self, self.model, self.measured_on), name=name, host=host, port=port)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Job(RecommendationJob):
    """What a job found, to be looked at, reported and served."""

    recommendations: tuple[Recommendation, ...]
    pareto: tuple[Recommendation, ...]

    @classmethod
    def holding(cls, job: RecommendationJob) -> Self:
        """The same job, for a person."""
        held = {field.name: getattr(job, field.name) for field in fields(job)}
        held["recommendations"] = tuple(map(_held, job.recommendations))
        held["pareto"] = tuple(map(_held, job.pareto))
        return cls(**held)

    @property
    def best(self) -> Recommendation | None:
        """The first recommendation, None where there is none."""
        return self.recommendations[0] if self.recommendations else None

    def recommendation(self, recommendation_id: str | None = None) -> Recommendation:
        """The recommendation of that ID, also of those on the Pareto front, or the first one. Raises SpecError where
        there is none."""
        return _held(RecommendationJob.recommendation(self, recommendation_id))

    def __repr__(self) -> str:
        """The answer on a line: all that a job holds is more than anybody reads."""
        from servefit.report.sentences import headline

        answer = headline(self).partition("\n")[0].removesuffix(".")
        return f"<{cut(f'{type(self).__name__} {self.name}, {self.status}: {answer}', MOST_LETTERS - 2)}>"

    def report(self, path: str | Path, *, form: str | None = None) -> None:
        """Write the report of this job to ``path``: "html", "json", "csv" or "markdown", as its name ends, or as
        ``form`` says. Raises SpecError, and StateError where the file cannot be written."""
        from servefit.report.writing import write_report

        write_report(self, Path(path), form)

    def _repr_html_(self) -> str:
        """How a notebook shows the job: the answer, and the recommendations as a table."""
        from servefit.report.notebook import notebook_html

        return notebook_html(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that ``servefit recommend --format json`` prints."""
        from servefit.search.jobs.document import job_document

        return job_document(self)

    def to_dataframe(self) -> Any:
        """The recommendations as a pandas DataFrame, one row each. Raises ImportError without pandas."""
        import pandas

        return pandas.json_normalize(self.to_dict()["recommendations"])


def load_job(name: str, *, storage: str | None = None) -> Job:
    """The job of that name, as far as it is. Raises SpecError for an unknown one, StorageError, StateError."""
    from servefit.search.jobs import lifecycle

    return Job.holding(lifecycle.load_job(name, storage=storage))


def _held(found: recommendation.Recommendation) -> Recommendation:
    if isinstance(found, Recommendation):
        return found
    return Recommendation(**{field.name: getattr(found, field.name) for field in fields(found)})
