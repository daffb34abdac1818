"""``servefit recommend``: the main job."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from servefit.cli.completion import backend_names, one_of, profile_names
from servefit.cli.config import ConfigOption, SaveConfigOption, given_options, overridden, sources, write_config
from servefit.cli.options import (
    ArrivalsOption,
    BatchDependenceOption,
    NoiseOption,
    NoWaitOption,
    PayloadOption,
    PhaseOption,
    QuietOption,
    RowsOption,
    SecretOption,
    SeedOption,
    StorageOption,
    TrustOption,
    WaitOption,
    parse_arrivals,
    parse_wait_s,
)
from servefit.cli.output import Format, FormatOption


def recommend(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="A file, a folder or a .tar.gz; with --config, that file may name it."),
    ] = None,
    payload: PayloadOption = None,
    rows_per_request: RowsOption = 1,
    sla: Annotated[
        list[str] | None, typer.Option("--sla", metavar="p95=100ms", help="Limit on a latency percentile. Repeatable.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="500/s", help="Rate to be served: 500/s or 30000/min.")
    ] = None,
    arrivals: ArrivalsOption = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile", autocompletion=profile_names, help="Instance profile to consider. Repeatable; default all."
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", "-b", autocompletion=backend_names, help="Backend to consider. Repeatable; default all."
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=V1,V2", help="Values of an environment variable to try. Repeatable."),
    ] = None,
    secret_env: SecretOption = None,
    batch: Annotated[
        str | None, typer.Option("--batch", metavar="1,8,32", help="Most requests joined into a call, to try.")
    ] = None,
    batch_delay: Annotated[
        str | None,
        typer.Option("--batch-delay", metavar="0,1ms", help="How long the first of a batch may wait, to try."),
    ] = None,
    goal: Annotated[
        str,
        typer.Option(
            autocompletion=one_of("cost", "latency", "throughput", "balanced"),
            help="What to optimise: cost, latency, throughput or balanced.",
        ),
    ] = "cost",
    cost_weight: Annotated[
        float, typer.Option(help="With --goal balanced: what cost counts against latency, 0 to 1.")
    ] = 0.5,
    phase: PhaseOption = None,
    stairs: Annotated[
        str | None,
        typer.Option(metavar="steps=4,users=2,duration=30s", help="Closed-loop traffic with more users step by step."),
    ] = None,
    flat_invocations: Annotated[
        str,
        typer.Option(
            metavar="stop|continue",
            autocompletion=one_of("stop", "continue"),
            help="Whether phases end once more users are not served more.",
        ),
    ] = "stop",
    max_tests: Annotated[int | None, typer.Option(help="Most load tests to run.")] = None,
    max_parallel_tests: Annotated[
        int, typer.Option(help="Most load tests at once, where there are CPUs for each.")
    ] = 1,
    budget: Annotated[str | None, typer.Option(metavar="60s", help="Time for the whole job.")] = None,
    over_http: Annotated[
        bool,
        typer.Option("--http/--no-http", help="Measure the winner over HTTP too, where a client has a CPU."),
    ] = True,
    name: Annotated[str | None, typer.Option(help="Name of the job; one is made up otherwise.")] = None,
    storage: StorageOption = None,
    seed: SeedOption = 0,
    allow_noise: NoiseOption = False,
    allow_batch_dependence: BatchDependenceOption = False,
    wait: WaitOption = None,
    no_wait: NoWaitOption = False,
    trust_pickle: TrustOption = False,
    form: FormatOption = Format.TABLE,
    quiet: QuietOption = False,
    config: ConfigOption = None,
    save_config: SaveConfigOption = None,
) -> None:
    """Find what to deploy MODEL on: measure it with every backend in every instance profile that fits this host.

    Options may be in a file, too: servefit recommend --config job.yaml --budget 2m

    Example: servefit recommend model.ubj --payload payload.csv --sla p95=10ms --rate 500/s
    """
    from servefit.cli.job_output import run_and_print
    from servefit.cli.phases import parse_traffic
    from servefit.quantities import parse_duration_s, parse_rate_per_s
    from servefit.search.jobs.job import default_name
    from servefit.search.request.arrivals import resolved
    from servefit.search.request.config_file import read_config
    from servefit.search.request.config_schema import JobConfig
    from servefit.search.request.job_request import (
        EnvironmentRange,
        JobRequest,
        parse_batch_sizes,
        parse_delays_us,
        parse_flat_invocations,
        parse_goal,
        with_secrets,
    )
    from servefit.search.request.sla import Sla, parse_sla

    asked = JobConfig() if config is None else read_config(config)
    model, payload = sources(asked, model, payload)
    request = JobRequest(
        name=name or asked.name or default_name(model),
        sla=Sla(
            thresholds=tuple(threshold for text in sla or () for threshold in parse_sla(text)),
            rate_per_s=None if rate is None else parse_rate_per_s(rate),
        ),
        profiles=tuple(profile or ()),
        backends=tuple(backend or ()),
        environment=tuple(EnvironmentRange.parse(text) for text in env or ()),
        batch_sizes=() if batch is None else parse_batch_sizes(batch),
        batch_delays_us=() if batch_delay is None else parse_delays_us(batch_delay),
        phases=parse_traffic(phase or (), stairs),
        flat_invocations=parse_flat_invocations(flat_invocations),
        goal=parse_goal(goal),
        cost_weight=cost_weight,
        budget_s=None if budget is None else parse_duration_s("budget", budget),
        max_tests=max_tests,
        max_parallel_tests=max_parallel_tests,
        rows_per_request=rows_per_request,
        seed=seed,
        allow_noise=allow_noise,
        allow_batch_dependence=allow_batch_dependence,
        over_http=over_http,
        arrivals=parse_arrivals(arrivals),
    )
    request = resolved(overridden(asked, request, given_options(context)))
    names = (*(asked.secret_env or ()), *(secret_env or ()))
    request = replace(request, environment=with_secrets(request.environment, names))
    wait_s = parse_wait_s(wait, no_wait)
    wait_s = asked.wait_s if wait_s is None else wait_s
    if save_config is not None:
        write_config(request, model, payload, save_config, wait_s=wait_s)
    run_and_print(
        model,
        payload,
        request,
        trust_pickle=trust_pickle,
        storage=storage,
        wait_s=wait_s,
        form=form,
        quiet=quiet,
        # The budget is for the whole command.
        spent_s=time.monotonic() - context.obj,
    )
