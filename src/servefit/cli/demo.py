"""``servefit demo``: credit-card fraud, end to end."""

from __future__ import annotations

from typing import Annotated

import typer

from servefit.cli.options import (
    NoiseOption,
    NoWaitOption,
    QuietOption,
    SeedOption,
    StorageOption,
    WaitOption,
    parse_wait_s,
)
from servefit.cli.output import Format, FormatOption, WideOption
from servefit.option_panels import SEARCH
from servefit.profiler.defaults import SEED
from servefit.search.request.defaults import BUDGET_S

RATE_PER_S = 500.0
"""Rate of the use case. Chosen, not measured: one that any machine of two cores can be expected to serve."""

LIMIT_MS = 100.0
"""Limit on the p95 of the use case. Chosen, not measured: a tenth of a second is a delay that people hardly notice."""


def demo(
    budget: Annotated[
        str,
        typer.Option(
            metavar=f"{BUDGET_S:g}s", help="Time for the job, once the model is there.", rich_help_panel=SEARCH
        ),
    ] = f"{BUDGET_S:g}s",
    storage: StorageOption = None,
    seed: SeedOption = SEED,
    allow_noise: NoiseOption = False,
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    form: FormatOption = Format.TABLE,
    wide: WideOption = False,
    quiet: QuietOption = False,
) -> None:
    """Recommend a deployment for a credit-card fraud model: 500 requests a second, p95 within 100 ms.

    The first time, 284,807 transactions are made up and an XGBoost model of about 10 MB is trained on them.

    Example: servefit demo
    """
    from servefit.cli.job_output import run_and_print
    from servefit.cli.progress import showing_stage
    from servefit.demo import fraud_model, fraud_payload
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.machine.slot.holding import measuring_slot
    from servefit.quantities import parse_duration_s
    from servefit.search.jobs.job import default_name
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.sla import Sla

    request = JobRequest(
        name=default_name("demo"),
        sla=Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=LIMIT_MS),), rate_per_s=RATE_PER_S),
        budget_s=parse_duration_s("budget", budget),
        seed=seed,
        allow_noise=allow_noise,
    )
    wait_s = parse_wait_s(wait, no_wait)
    with measuring_slot("servefit demo", wait_s=wait_s):
        with showing_stage("making the fraud model (the first time takes half a minute)", quiet=quiet):
            model, payload = fraud_model(), fraud_payload()
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
