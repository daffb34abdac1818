"""CloudWatch Logs: the journals of recommendation jobs, which the SDK shows while it waits.

The SDK asks for more every 60 s and ends only when a batch has events and the job is over. So a call that knows what it
has seen waits here until the job is over, and the SDK comes back at once.
"""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.queue import ENDED, KIND
from servefit.aws.services.pages import one_page
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.state.resources import Resources

GROUP = "/aws/sagemaker/InferenceRecommendationsJobs"
_STREAM = "/execution"

MAX_WAIT_S = 55.0
"""A call may wait so long: a default job takes about 45 s, with what comes before and after it, and botocore gives up
after 60 s."""

MAX_WAITING = 16
"""Calls that may wait at once; others are answered at once. The server has some more threads than that."""

_MAX_EVENTS = 10_000
_MAX_STREAMS = 50
"""Of AWS, in an answer."""


class Logs:
    """The operations on logs. Streams of endpoints are empty: their messages are in files of servefit's."""

    def __init__(self, resources: Resources, queue: JobQueue) -> None:
        self._resources = resources
        self._queue = queue
        self._waiting = threading.Semaphore(MAX_WAITING)

    @property
    def operations(self) -> Operations:
        return {
            "GetLogEvents": self.events,
            "FilterLogEvents": self.filtered,
            "DescribeLogStreams": self.streams,
        }

    def events(self, call: Call) -> dict[str, Any]:
        """Return the lines after those that ``nextToken`` has, without one the last; with one, wait for the end of the
        job."""
        request = call.given
        name = self._job_of(request)
        journal = self._queue.files(name).journal
        token = request.get("nextToken")
        most = request.get("limit", _MAX_EVENTS)
        start = 0 if token is None else _number(token)
        if token is None and not request.get("startFromHead", False):
            start = max(0, journal.length() - most)
        if token is not None and self._waiting.acquire(blocking=False):
            try:
                self._queue.wait_for_news(MAX_WAIT_S, lambda: self._is_over(name))
            finally:
                self._waiting.release()
        lines, after = journal.read(start, most)
        first_ms, end_ms = request.get("startTime", 0), request.get("endTime", inf)
        return {
            "events": [_event(at_ms, text) for at_ms, text in lines if first_ms <= at_ms < end_ms],
            "nextForwardToken": f"f/{after}",
            "nextBackwardToken": f"b/{start}",
        }

    def filtered(self, call: Call) -> dict[str, Any]:
        """Return no events: the SDK asks for those of endpoints. Raises ApiError for those of jobs."""
        if call.given.get("logGroupName") == GROUP:
            raise ApiError("InvalidParameterException", "FilterLogEvents has no events of jobs: use GetLogEvents.")
        return {"events": [], "searchedLogStreams": []}

    def streams(self, call: Call) -> dict[str, Any]:
        if call.given.get("logGroupName") != GROUP:
            return {"logStreams": []}
        prefix = call.given.get("logStreamNamePrefix", "")
        names = [f"{job.name}{_STREAM}" for job in self._resources.all(KIND)]
        kept = sorted(name for name in names if name.startswith(prefix))
        paging = {"MaxResults": call.given.get("limit", _MAX_STREAMS), "NextToken": call.given.get("nextToken")}
        page, after = one_page({"prefix": prefix, **paging}, "DescribeLogStreams", kept)
        return {"logStreams": [{"logStreamName": name} for name in page], "nextToken": after}

    def _job_of(self, request: Any) -> str:
        """Return the job whose stream is asked for. Raises ApiError, ResourceNotFoundException."""
        stream = request["logStreamName"]
        name = stream.removesuffix(_STREAM)
        if request.get("logGroupName") == GROUP and stream.endswith(_STREAM):
            try:
                self._resources.get(KIND, name)
            except Missing:
                pass
            else:
                return str(name)
        raise ApiError("ResourceNotFoundException", "The specified log stream does not exist.")

    def _is_over(self, name: str) -> bool:
        return self._resources.get(KIND, name).document["Status"] in ENDED


def _event(at_ms: int, text: str) -> dict[str, Any]:
    return {"timestamp": at_ms, "message": text, "ingestionTime": at_ms}


def _number(token: str) -> int:
    kind, _, number = token.partition("/")
    if kind not in ("f", "b") or not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise ApiError("InvalidParameterException", "The specified nextToken is invalid.")
    return int(number)
