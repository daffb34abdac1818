"""Options that commands share with jobs: of these the meaning, as far as it is the same, is in ``JobConfig`` alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from servefit.cli.job_options import of_job
from servefit.cli.phases import parse_traffic
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import TRAFFIC
from servefit.profiler.arrivals.registry import SHAPES
from servefit.profiler.defaults import ARRIVALS

if TYPE_CHECKING:
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.record.traffic import ClosedLoop

RowsOption = Annotated[int, of_job("rows_per_request")]
SeedOption = Annotated[int, of_job("seed")]
NoiseOption = Annotated[bool, of_job("allow_noise")]
BatchDependenceOption = Annotated[bool, of_job("allow_batch_dependence")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionOptions:
    """The limits within which backends may predict less exactly."""

    allow_precision: Annotated[
        str | None,
        of_job("allow_precision", "Precisions of backends that predict less exactly, to allow. They need a limit."),
    ] = None
    max_deviation: Annotated[str | None, of_job("max_deviation")] = None
    quality: Annotated[Path | None, of_job("quality")] = None
    metric: Annotated[str | None, of_job("metric")] = None
    quality_drop: Annotated[str | None, of_job("quality_drop")] = None

    def limits(self) -> PrecisionLimits:
        """Return the limits that the options set. Raises SpecError."""
        from servefit.backends.quality.limits import PrecisionLimits

        return PrecisionLimits.of(
            allow_precision=() if self.allow_precision is None else self.allow_precision,
            max_deviation=self.max_deviation,
            quality=self.quality,
            metric=self.metric,
            quality_drop=self.quality_drop,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """The traffic of a measurement: an open loop, or users who take turns."""

    rate: Annotated[str | None, of_job("rate", "Open loop: arrivals at this mean rate.")] = None
    arrivals: Annotated[str | None, of_job("arrivals")] = None
    constant: Annotated[bool, option("The same as --arrivals constant. Deprecated: use that instead.", TRAFFIC)] = False
    users: Annotated[int | None, option("Closed loop: users who take turns.", TRAFFIC, "N")] = None
    phase: Annotated[list[str] | None, of_job("phase", "A phase of closed-loop traffic. Repeatable.")] = None
    stairs: Annotated[str | None, of_job("stairs", "Closed loop: so many more users every step.")] = None

    def rate_per_s(self) -> float | None:
        """Return the rate, None where there is none. Raises SpecError."""
        from servefit.quantities import parse_rate_per_s

        return None if self.rate is None else parse_rate_per_s(self.rate)

    def shape(self) -> str:
        """Return the text of the shape of arrivals that two of the options name. Raises SpecError where both do."""
        SHAPES.warn_of_ignored()
        if not self.constant:
            return ARRIVALS if self.arrivals is None else self.arrivals
        if self.arrivals is not None:
            raise SpecError("constant", None, "cannot be combined with --arrivals", remedy="say --arrivals constant")
        return "constant"

    def traffic(self) -> ClosedLoop | None:
        """Return the closed loop with phases or stairs, None where there are none. Raises SpecError."""
        return parse_traffic(self.phase or (), self.stairs)

    def deprecations(self) -> tuple[str, ...]:
        """Return the warnings about options that are used and will be removed."""
        return ("--constant will go; say --arrivals constant",) if self.constant else ()


def parse_thresholds(sla: list[str] | None) -> tuple[LatencyThreshold, ...]:
    """Return the limits that every ``--sla`` sets. Raises SpecError."""
    from servefit.search.request.sla import Sla, parse_sla

    return Sla(thresholds=tuple(threshold for text in sla or () for threshold in parse_sla(text))).thresholds


def parse_duration(name: str, text: str | None) -> float | None:
    """Return the seconds of an option that is a duration, None where it is not given. Raises SpecError."""
    from servefit.quantities import parse_duration_s

    return None if text is None else parse_duration_s(name, text)
