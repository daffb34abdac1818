"""The data of a recommendation job whose turn it is: a bucket that is not there ends the job, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.jobs.files import JobOutcome
from servefit.aws.s3.urls import missing_bucket

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles


def refuse_missing_buckets(files: JobFiles) -> bool:
    """End a job, as FAILED, whose model or payload is in a bucket that is not there. Return whether it was ended.

    Clients that name a bucket of AWS are to hear that objects are files here.
    """
    plan = files.plan()
    for file, url in ((plan.model, plan.model_url), (plan.payload, plan.payload_url)):
        if file is None or url is None or (bucket := missing_bucket(url, Path(file))) is None:
            continue
        reason = (
            f"{url}: there is no bucket {bucket}: objects are files below the server's own S3 root (--s3-root), not "
            "AWS's; make the bucket and upload the object to this server"
        )
        files.write_outcome(JobOutcome(status="FAILED", reason=reason))
        files.journal.write(f"the job is over: FAILED: {reason}")
        return True
    return False
