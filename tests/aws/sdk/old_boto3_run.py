"""Asks for a bit of everything, with the oldest boto3 that the SDK takes.

    PYTHON tests/aws/sdk/old_boto3_run.py JOB FILE FOLDER

JOB is the name of a recommendation job, FILE is uploaded, and FOLDER is that of the example, whose table and chart are
made. Prints what was found, as JSON. PYTHON has the SDK.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import boto3
    import sagemaker  # type: ignore[import-not-found]
    from cloudwatch_calls import called  # type: ignore[import-not-found]

    name, file, folder = sys.argv[1:]
    parts: list[str] = []
    boto_session = boto3.Session()
    boto_session.events.register("before-call.s3.UploadPart", lambda **_: parts.append("part"))
    session = sagemaker.Session(boto_session=boto_session)
    url = session.upload_data(file, key_prefix="old")
    bucket, _, key = url.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    found = {
        **called(name, folder),
        "role": sagemaker.get_execution_role(),
        "parts": len(parts),
        "length": len(s3.get_object(Bucket=bucket, Key=key)["Body"].read()),
    }
    s3.delete_object(Bucket=bucket, Key=key)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
