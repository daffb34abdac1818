"""``servefit export``: a folder that serves a recommendation, or a model, wherever there is Python."""

from __future__ import annotations

from typing import Annotated

from servefit.annexed import from_annex
from servefit.cli.deployments import DeploymentOptions, NameOption
from servefit.cli.options import OutputOption, QuietOption
from servefit.cli.output import FormatOption, OutputFormat, emit, warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import OUTPUT
from servefit.report.table import Table

DEFAULT_PORT = 8080
"""The port of the endpoints, and of the balancer: that of ``servefit serve``."""


def export(
    deployment: DeploymentOptions,
    output: OutputOption,
    name: NameOption = None,
    wheels: Annotated[
        bool, option("Download the Python packages too: the bundle then needs no network.", OUTPUT)
    ] = False,
    balancer: Annotated[
        str | None,
        option(
            "Of a job on a fleet: write the configuration of that balancer in front of it instead.",
            OUTPUT,
            "nginx|haproxy|envoy",
        ),
    ] = None,
    port: Annotated[
        int,
        option(
            "With --balancer: the port of the balancer and of the endpoints behind it.",
            OUTPUT,
            "PORT",
            least=1,
            most=65535,
        ),
    ] = DEFAULT_PORT,
    address: Annotated[
        list[str] | None,
        option(
            "With --balancer: where the endpoint of a host is, as in rack3-07=10.0.3.7:8000; else where its agent "
            "says. Repeatable.",
            OUTPUT,
            "HOST=ADDRESS",
        ),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Write a folder that serves what JOB recommends: artifact, model, versions, and how to run it by hand, by systemd,
    in Docker, on SageMaker and on Kubernetes.

    Example: servefit export fraud-20261124-120000 -o deploy/
    """
    if balancer is not None:
        if deployment.job is None:
            raise SpecError("balancer", balancer, "is for a job on a fleet", remedy="name the job")
        from_annex("fleet", "balancing", field="balancer", value=balancer).export_balancer(
            deployment.job,
            balancer,
            output,
            port=port,
            addresses=address or (),
            storage=deployment.storage,
            form=form,
        )
        return
    if address:
        raise SpecError("address", address[0], "is for the configuration of a balancer", remedy="add --balancer nginx")
    from servefit.search.deployment.bundle.lock import REMEDY
    from servefit.search.deployment.bundle.writing import check_free, write_bundle

    check_free(output)
    deployable = deployment.deployable(quiet=quiet)
    with showing_stage(f"writing {output}" + (", and downloading packages" if wheels else ""), quiet=quiet):
        bundle = write_bundle(deployable, output, name=name, wheels=wheels)
    if bundle.lock.reason is not None:
        warn(f"requirements.lock has no digests: {bundle.lock.reason}; {REMEDY}")
    config = bundle.contents.config
    document = {
        "schema": 1,
        "output": str(output),
        "name": config.name,
        "backend": config.artifact.backend,
        "backend_version": config.artifact.backend_version,
        "target": config.artifact.target.value,
        "instance_profile": deployable.profile.name,
        "workers": config.workers,
        "threads": config.settings.threads,
        "max_batch": config.max_batch,
        "batch_delay_us": config.batch_delay_us,
        "model_digest": config.artifact.model_digest,
        "version": bundle.contents.version,
        "image": bundle.contents.image,
        "requirements": list(bundle.contents.pins),
        "pythons": list(bundle.contents.pythons.versions),
        "no_other_python": bundle.contents.pythons.reason or None,
        "hashed": bundle.lock.reason is None,
        "size_bytes": bundle.size_bytes,
        "start": str(output / "run"),
    }
    shown = {name: value for name, value in document.items() if name not in ("schema", "requirements")}
    shown["pythons"] = bundle.contents.pythons.text
    rows = [[name.replace("_", " "), value] for name, value in shown.items()]
    emit(Table(columns=("property", "value"), rows=rows), document, form)
