"""A default job by the SageMaker SDK, in an environment that has it, with what ``servefit api`` told to export.

    PYTHON benchmarks/sdk_job.py NAME MODEL_URL PAYLOAD_URL

Prints how many seconds ``right_size`` took, and how the job ended, as JSON. It does not import servefit.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    from sagemaker.model import Model  # type: ignore[import-not-found]
    from sagemaker.session import Session  # type: ignore[import-not-found]

    name, model_url, payload_url = sys.argv[1:]
    model = Model(
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1",
        model_url,
        "arn:aws:iam::123456789012:role/servefit",
        sagemaker_session=Session(),
    )
    began = time.monotonic()
    model.right_size(
        sample_payload_url=payload_url, supported_content_types=["text/csv"], job_name=name, framework="XGBOOST"
    )
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "status": model.inference_recommender_job_results["Status"]}))


if __name__ == "__main__":
    main()
