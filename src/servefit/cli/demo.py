"""``servefit demo``: credit-card fraud, end to end."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from servefit.cli.job_options import of_job
from servefit.cli.measuring import NoiseOption, SeedOption
from servefit.cli.options import QuietOption, StorageOption, WaitOptions
from servefit.cli.output import FormatOption, OutputFormat, WideOption
from servefit.cli.signatures import option
from servefit.option_panels import SEARCH
from servefit.profiler.defaults import SEED
from servefit.search.request.defaults import BUDGET_S

RATE_PER_S = 500.0
"""Rate of the use case: 30,000 requests a minute."""

REQUEST_BYTES = 10_000
"""Size of a request of the use case: 10 KB."""

LIMIT_MS = 100.0
"""Limit on the p95 of the use case: a tenth of a second is a delay that people hardly notice."""


def demo(
    budget: Annotated[
        str, option("Time for the job, once the model is there.", SEARCH, f"{BUDGET_S:g}s")
    ] = f"{BUDGET_S:g}s",
    cloud: Annotated[
        list[str] | None,
        of_job(
            "cloud",
            "Answer for the shapes of a cloud that fit this machine, in place of the machine itself. Repeatable.",
        ),
    ] = None,
    storage: StorageOption = None,
    seed: SeedOption = SEED,
    allow_noise: NoiseOption = False,
    *,
    waiting: WaitOptions,
    form: FormatOption = OutputFormat.TABLE,
    wide: WideOption = False,
    quiet: QuietOption = False,
) -> None:
    """Recommend a deployment of a credit-card fraud model on this machine: 500 requests of 10 KB a second, p95 within
    100 ms.

    A request has as many transactions as 10 KB of JSON hold. The first time, 284,807 transactions are made up and an
    XGBoost model of about 10 MB is trained on them.

    Example: servefit demo --cloud aws
    """
    from servefit.cli.job_output import run_and_print
    from servefit.cli.progress import showing_stage
    from servefit.demo import fraud_model, fraud_payload, fraud_rows_per_request
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.slot.holding import measuring_slot
    from servefit.quantities import parse_duration_s
    from servefit.search.jobs.job import default_name
    from servefit.search.jobs.measurable import measurable_profiles
    from servefit.search.request.job_request import JobRequest, parse_clouds
    from servefit.search.request.sla import Sla

    asked = JobRequest(
        name=default_name("demo"),
        sla=Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=LIMIT_MS),), rate_per_s=RATE_PER_S),
        clouds=parse_clouds(cloud or ()),
        budget_s=parse_duration_s("budget", budget),
        seed=seed,
        allow_noise=allow_noise,
    )
    # What can be wrong with the profiles is told before a model is trained for half a minute.
    measurable_profiles(asked, describe_host())
    wait_s = waiting.wait_s()
    with measuring_slot("servefit demo", wait_s=wait_s):
        with showing_stage("making the fraud model (the first time takes half a minute)", quiet=quiet):
            model, payload = fraud_model(), fraud_payload()
            request = replace(asked, rows_per_request=fraud_rows_per_request(REQUEST_BYTES))
        run_and_print(
            model,
            payload,
            request,
            trust_pickle=False,
            storage=storage,
            wait_s=wait_s,
            form=form,
            wide=wide,
            quiet=quiet,
        )
