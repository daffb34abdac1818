"""Has the SDK find an instance type, and deploy what it found in the way that needs no identifier.

    PYTHON tests/aws/sdk/right_size_run.py MODEL_URL PAYLOAD_URL

Prints as JSON how long after the end of the job ``right_size`` returned, what was deployed, and what that predicts for
a row. PYTHON has the SDK.
"""

from __future__ import annotations

import json
import sys
import time


def main() -> None:
    import sagemaker  # type: ignore[import-not-found]
    from sagemaker.deserializers import CSVDeserializer  # type: ignore[import-not-found]
    from sagemaker.model import Model  # type: ignore[import-not-found]
    from sagemaker.serializers import CSVSerializer  # type: ignore[import-not-found]

    model_url, payload_url = sys.argv[1:]
    session = sagemaker.Session()
    model = Model(
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1",
        model_url,
        sagemaker.get_execution_role(),
        predictor_cls=sagemaker.Predictor,
        sagemaker_session=session,
    )
    model.right_size(
        sample_payload_url=payload_url,
        supported_content_types=["text/csv"],
        supported_instance_types=["ml.c5.large"],
        framework="XGBOOST",
        job_duration_in_seconds=1000,
    )
    returned = time.time()
    job = model.inference_recommender_job_results
    predictor = model.deploy(serializer=CSVSerializer(), deserializer=CSVDeserializer())
    client = session.sagemaker_client
    endpoint = client.describe_endpoint(EndpointName=predictor.endpoint_name)
    configuration = client.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    found = {
        "job": job["JobName"],
        "late_s": returned - job["CompletionTime"].timestamp(),
        "recommendation": job["InferenceRecommendations"][0],
        "endpoint": predictor.endpoint_name,
        "instance_type": configuration["ProductionVariants"][0]["InstanceType"],
        "prediction": predictor.predict([0.0, 1.0]),
    }
    predictor.delete_model()
    predictor.delete_endpoint()
    print("", json.dumps(found, default=str), sep="\n")  # after the dots of the SDK


if __name__ == "__main__":
    main()
