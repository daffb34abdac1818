"""Jobs and recommendations for Python users, with methods that show, report and serve them.

The results of a job are in ``search.jobs.job``; this module adds the methods that a person calls.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from servefit.errors import SpecError
from servefit.search.jobs.job import RecommendationJob
from servefit.search.results import recommendation
from servefit.showing import MAX_LETTERS, cut, shown

if TYPE_CHECKING:
    from servefit.report.plot import Plot
    from servefit.search.deployment.served import ServedEndpoint


@shown("id", "profile", "trial", "max_invocations", "cost_per_hour")
class Recommendation(recommendation.Recommendation):
    """A recommendation that can be served on this host.

    Example:
        ::

            best = job.best
            print(best.id, best.profile.name, best.environment, best.max_invocations)
    """

    __slots__ = ()

    def serve(self, *, name: str | None = None, host: str = "127.0.0.1", port: int = 0) -> ServedEndpoint:
        """Serve the model here as recommended, at ``host`` and ``port`` (0: any that is free), in the envelope of the
        profile; give the endpoint once it is ready. It goes on until its ``stop()``, or while a ``with`` block lasts.

        Args:
            name: What the model is called in URLs; like its file where None.
            host: The address to listen on.
            port: The port, 0 for any that is free.

        Returns:
            The endpoint, which answers already.

        Raises:
            SpecError: This host cannot be the profile, the address cannot be listened on, or a job of a shared database
                sets a variable that nobody allowed.
            CorruptModel: The model's file is gone, or has changed.
            BackendError: The model cannot be compiled.
            MeasurementError: The endpoint does not come up.

        Example:
            ::

                with job.best.serve() as endpoint:
                    print(endpoint.url)
        """
        from servefit.search.deployment.deployable import deployable
        from servefit.search.deployment.served import serve

        if self.model is None or self.measured_on is None:
            raise SpecError("recommendation", self.id, "is of no job, so there is no model to serve")
        return serve(deployable(self, self.model, self.measured_on), name=name, host=host, port=port)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Job(RecommendationJob):
    """The results of a job, with methods that show, report and serve them.

    Example:
        ::

            job = sf.load_job("fraud")
            print(job.status, job.best.environment, len(job.trials))
    """

    recommendations: tuple[Recommendation, ...]
    pareto: tuple[Recommendation, ...]

    @classmethod
    def from_results(cls, job: RecommendationJob) -> Self:
        """Return ``job`` with the methods of this class."""
        values = {field.name: getattr(job, field.name) for field in fields(job)}
        values["recommendations"] = tuple(map(_servable, job.recommendations))
        values["pareto"] = tuple(map(_servable, job.pareto))
        return cls(**values)

    @property
    def best(self) -> Recommendation | None:
        """The first recommendation, None where there is none."""
        return self.recommendations[0] if self.recommendations else None

    def recommendation(self, recommendation_id: str | None = None) -> Recommendation:
        """Return the recommendation of that ID, also of those on the Pareto front, or the first one. Raises SpecError
        where there is none."""
        return _servable(RecommendationJob.recommendation(self, recommendation_id))

    def __repr__(self) -> str:
        """Return the answer on one line, in place of all fields."""
        from servefit.report.sentences import headline

        answer = headline(self).partition("\n")[0].removesuffix(".")
        return f"<{cut(f'{type(self).__name__} {self.name}, {self.status}: {answer}', MAX_LETTERS - 2)}>"

    def report(self, path: str | Path, *, form: str | None = None) -> None:
        """Write the report of this job.

        Args:
            path: Where to. Its ending says in which form, unless ``form`` does.
            form: "html", "json", "csv" or "markdown".

        Raises:
            SpecError: The form is not known.
            StateError: The file cannot be written.

        Example:
            ::

                job.report("report.md")
        """
        from servefit.report.contents import report_of
        from servefit.report.writing import write_report

        write_report(report_of(self), Path(path), form)

    def plot(self, name: str | None = None) -> Any:
        """Draw a plot of the report.

        Args:
            name: One of :attr:`plots`; by default the first of them.

        Returns:
            A ``plotly.graph_objects.Figure``, which a notebook shows. It takes the extra ``plot``.

        Raises:
            SpecError: The job has no plot of that name, or none at all, or plotly is not installed.

        Example:
            ::

                job.plot().write_html("curve.html")
        """
        from servefit.report.plotly_figure import plotly_figure

        plots = self._plots()
        if not plots:
            raise SpecError("job", self.name, "has nothing to plot: nothing was measured")
        if name is not None and name not in plots:
            raise SpecError.unknown("plot", name, list(plots))
        return plotly_figure(plots[name or next(iter(plots))])

    @property
    def plots(self) -> tuple[str, ...]:
        """The names of the plots that :meth:`plot` can draw."""
        return tuple(self._plots())

    def _plots(self) -> dict[str, Plot]:
        from servefit.report.contents import plots_of

        return {plot.name: plot for plot in plots_of(self)}

    def _repr_html_(self) -> str:
        """Return the HTML of the job in a notebook: the answer, and the recommendations as a table."""
        from servefit.report.notebook import notebook_html

        return notebook_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that ``servefit recommend --format json`` prints."""
        from servefit.search.jobs.document import job_document

        return job_document(self)

    def to_dataframe(self) -> Any:
        """Return the recommendations as a pandas DataFrame, one row each.

        Raises:
            ImportError: pandas is not installed.

        Example:
            ::

                print(job.to_dataframe()["instance_profile"])
        """
        import pandas

        return pandas.json_normalize(self.to_dict()["recommendations"])


def load_job(name: str, *, storage: str | None = None, allow_env: Collection[str] = ()) -> Job:
    """Read a job, with its results so far.

    Args:
        name: The name of the job; ``servefit jobs`` lists them.
        storage: The database that keeps it; by default the one in the state folder.
        allow_env: Environment variables that its recommendations may set when they are served, beside those that tune
            runtimes. A job in the state folder may set all that it was given.

    Returns:
        The job, whether it is over or not.

    Raises:
        SpecError: There is no job of that name.
        StorageError: The database cannot be read.
        StateError: The state folder cannot be read.

    Example:
        ::

            print(sf.load_job("fraud").best.profile.name)
    """
    from servefit.search.jobs import lifecycle

    return Job.from_results(lifecycle.load_job(name, storage=storage, allowed=allow_env))


def _servable(recommended: recommendation.Recommendation) -> Recommendation:
    if isinstance(recommended, Recommendation):
        return recommended
    return Recommendation(**{field.name: getattr(recommended, field.name) for field in fields(recommended)})
