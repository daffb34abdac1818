"""boto3's client of SageMaker, and a session of its SDK, answered by this machine without a server.

What is answered, and how, is for ``servefit.aws`` to say: it is the same code as behind ``servefit api``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from servefit.errors import SpecError

NEEDED = ("botocore", "boto3", "moto")
"""Packages that it needs, all of which ``servefit[aws]`` installs."""


class Client:
    """The operations of ``boto3.client("sagemaker")`` on this machine: those of Inference Recommender as methods, and
    all others that ``servefit api`` answers under boto3's names for them, such as ``create_model``.

    Jobs, models and endpoints are those of ``servefit api``: they are kept in the state folder, and where a server runs
    on that, its own are used. One program at a time can have the folder. A job that runs when the client is closed goes
    on with the next client, or the next server.

    Args:
        s3_root: The folder of objects: a folder in it is a bucket. By default a folder in the state folder.
        account: The account of all resources, 12 digits.
        region: The region of all resources.
        profiles: Profiles to measure in place of instance types, by these.
        prices: What an hour of instance types costs, by these, such as "0.102/h" or "0.102EUR/h".
        time_scale: What durations of phases, stairs and jobs are multiplied by.
        trust_pickle: Unpickle models, which runs code.
        trust_code: Run the scripts of models (code/inference.py), and measure these.
        allow_noise: Give disturbed measurements a verdict too.
        allow_env: Variables that models and jobs may set beside those that tune runtimes.

    Attributes:
        boto_session: A session of boto3 whose clients, such as that of S3, are all answered here.

    Raises:
        SpecError: This program has a client already, another one has the state folder, a server has it and is not to be
            told settings here, ``servefit[aws]`` is not installed, or an argument has no sense. Also where a client is
            used that is closed, or that was made in another process, from which this one was forked.
        StateError: The state folder cannot be written.

    Errors of operations are those of boto3, such as ``client.exceptions.ResourceNotFound``.

    Example:
        ::

            with servefit.sagemaker.Client() as client:
                container = {"Image": "none", "ModelDataUrl": "file:///models/model.tar.gz"}
                role = "arn:aws:iam::123456789012:role/servefit"
                client.create_model(ModelName="fraud", PrimaryContainer=container, ExecutionRoleArn=role)
                payload = {"PayloadConfig": {"SamplePayloadUrl": "file:///models/payload.tar.gz"}}
                client.create_inference_recommendations_job(
                    JobName="fraud-1",
                    JobType="Default",
                    RoleArn=role,
                    InputConfig={"ModelName": "fraud", "ContainerConfig": payload},
                )
    """

    def __init__(
        self,
        *,
        s3_root: str | Path | None = None,
        account: str | None = None,
        region: str | None = None,
        profiles: Mapping[str, str] | None = None,
        prices: Mapping[str, str] | None = None,
        time_scale: float = 1.0,
        trust_pickle: bool = False,
        trust_code: bool = False,
        allow_noise: bool = False,
        allow_env: Collection[str] = (),
    ) -> None:
        check_installed(NEEDED)
        from servefit.aws.in_process import boto_session
        from servefit.aws.jobs.plan import JobSettings
        from servefit.aws.server import ServerOptions
        from servefit.aws.services.call import ACCOUNT
        from servefit.aws.services.sagemaker.prices import parse_prices
        from servefit.aws.wire.destination import REGION

        self.account = ACCOUNT if account is None else account
        self.region = REGION if region is None else region
        options = ServerOptions(
            s3_root=None if s3_root is None else Path(s3_root),
            account=self.account,
            jobs=JobSettings(
                profiles=profiles or {},
                prices=parse_prices(prices or {}),
                time_scale=time_scale,
                trust_pickle=trust_pickle,
                trust_code=trust_code,
                allow_noise=allow_noise,
                allow_env=tuple(allow_env),
            ),
        )
        self.boto_session, self._close = boto_session(options, region=self.region)
        self._client = self.boto_session.client("sagemaker")

    def create_inference_recommendations_job(self, **parameters: Any) -> dict[str, Any]:
        """Begin a job, and return its JobArn."""
        return self._done("create_inference_recommendations_job", parameters)

    def describe_inference_recommendations_job(self, **parameters: Any) -> dict[str, Any]:
        """Return a job: its status, and once that is COMPLETED its recommendations, the best first."""
        return self._done("describe_inference_recommendations_job", parameters)

    def list_inference_recommendations_jobs(self, **parameters: Any) -> dict[str, Any]:
        """Return a page of the jobs."""
        return self._done("list_inference_recommendations_jobs", parameters)

    def list_inference_recommendations_job_steps(self, **parameters: Any) -> dict[str, Any]:
        """Return a page of the load tests of a job."""
        return self._done("list_inference_recommendations_job_steps", parameters)

    def stop_inference_recommendations_job(self, **parameters: Any) -> dict[str, Any]:
        """End a job after the test that runs."""
        return self._done("stop_inference_recommendations_job", parameters)

    def get_scaling_configuration_recommendation(self, **parameters: Any) -> dict[str, Any]:
        """Return how many instances a recommendation takes, and when to have more."""
        return self._done("get_scaling_configuration_recommendation", parameters)

    def __getattr__(self, name: str) -> Any:
        """Return another attribute of boto3's client, such as ``create_model``, ``exceptions`` or ``get_paginator``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._client, name)

    def close(self) -> None:
        """Give the state folder free: a job that runs goes on with the next client or server, and endpoints end, and so
        do calls that wait in other threads."""
        self._close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._client, operation)(**parameters)
        return answer


def session(client: Client | None = None, **settings: Any) -> Any:
    """Return a ``sagemaker.Session`` of the SageMaker Python SDK, version 2, that is answered by this machine.

    ``get_execution_role(session)`` and ``session.default_bucket()`` work too: they ask AWS at an address that no
    environment variable changes.

    Args:
        client: A client whose jobs and objects it is to share. By default it has one of its own.
        settings: The arguments of that, as for :class:`Client`.

    Returns:
        The session. The state folder is given free when the session is gone, or the program ends.

    Raises:
        SpecError: The SDK is not installed, or as for :class:`Client`.
        StateError: The state folder cannot be written.

    Example:
        ::

            session = servefit.sagemaker.session()
            role = sagemaker.get_execution_role(session)
            model_data = session.upload_data("model.tar.gz", key_prefix="fraud")
            model = sagemaker.Model(image, model_data, role, sagemaker_session=session)
    """
    if client is not None and settings:
        raise SpecError("client", None, "has its settings already", remedy="give either a client or settings")
    check_installed(("sagemaker",), remedy="install sagemaker>=2.257,<3")
    from sagemaker.session import Session  # type: ignore[import-not-found]

    from servefit.aws.environment import default_bucket

    own = Client(**settings) if client is None else client
    return Session(boto_session=own.boto_session, default_bucket=default_bucket(own.account, own.region))


def check_installed(packages: tuple[str, ...], *, remedy: str = "install servefit[aws]") -> None:
    """Raise SpecError, with the remedy, unless all packages are installed."""
    if missing := [name for name in packages if find_spec(name) is None]:
        raise SpecError(
            "sagemaker", None, f"needs packages that are not installed: {', '.join(missing)}", remedy=remedy
        )
