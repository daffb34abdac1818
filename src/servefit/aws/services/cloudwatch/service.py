"""The operations of CloudWatch, on all metrics that there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.cloudwatch.endpoint_loads import EndpointLoadMetrics
from servefit.aws.services.cloudwatch.endpoints import EndpointMetrics
from servefit.aws.services.cloudwatch.load_tests import LoadTestMetrics
from servefit.aws.services.cloudwatch.metric_data import metric_data
from servefit.aws.services.cloudwatch.metric_list import metric_list
from servefit.aws.services.cloudwatch.metric_statistics import metric_statistics
from servefit.aws.services.cloudwatch.recorded import Recordings
from servefit.aws.services.cloudwatch.sources import Source, Sources
from servefit.aws.services.cloudwatch.widget_image import widget_image

if TYPE_CHECKING:
    from servefit.aws.endpoints.invocations import InvocationLogs
    from servefit.aws.jobs.own_job import OwnJobs
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operation, Operations
    from servefit.aws.state.resources import Resources


class CloudWatch:
    """The metrics of the jobs of ``queue``, which are kept in ``resources`` and loaded by ``own_jobs``, and of the
    invocations in ``logs``."""

    def __init__(self, resources: Resources, queue: JobQueue, logs: InvocationLogs, own_jobs: OwnJobs) -> None:
        recordings = Recordings()
        self._source = Sources(
            [
                LoadTestMetrics(resources, queue, recordings, own_jobs),
                EndpointLoadMetrics(resources, queue, recordings),
                EndpointMetrics(logs),
            ]
        )

    @property
    def operations(self) -> Operations:
        return {
            "GetMetricStatistics": self._on_metrics(metric_statistics),
            "GetMetricData": self._on_metrics(metric_data),
            "ListMetrics": self._on_metrics(metric_list),
            "GetMetricWidgetImage": self._on_metrics(widget_image),
        }

    def _on_metrics(self, operation: Callable[[Call, Source], Mapping[str, Any]]) -> Operation:
        return lambda call: operation(call, self._source)
