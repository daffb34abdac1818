"""A job by the session of the SDK that servefit makes, without a server.

    python tests/aws/sdk/session_run.py PACKAGES MODEL PAYLOAD

PACKAGES is the folder of the packages of an environment with the SDK: servefit's own come first. Prints what was found,
as JSON.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    packages, model_file, payload_file = sys.argv[1:]
    sys.path.append(packages)
    import sagemaker  # type: ignore[import-not-found]
    from sagemaker.model import Model  # type: ignore[import-not-found]

    import servefit.sagemaker

    session = servefit.sagemaker.session(allow_noise=True, profiles={"ml.c5.large": "local-1c"})
    role = sagemaker.get_execution_role(session)
    model_url = session.upload_data(model_file, key_prefix="tiny")
    payload_url = session.upload_data(payload_file, key_prefix="tiny")
    model = Model("image", model_url, role, sagemaker_session=session)
    model.right_size(
        sample_payload_url=payload_url,
        supported_content_types=["text/csv"],
        supported_instance_types=["ml.c5.large"],
        framework="XGBOOST",
        job_name="by-the-session",
        job_duration_in_seconds=12,
    )
    found = model.inference_recommender_job_results
    best = found["InferenceRecommendations"][0]["EndpointConfiguration"]
    print(json.dumps({"role": role, "url": model_url, "status": found["Status"], "type": best["InstanceType"]}))


if __name__ == "__main__":
    main()
