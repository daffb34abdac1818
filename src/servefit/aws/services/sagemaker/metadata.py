"""ListModelMetadata: the kinds of models that a registry knows, here those that servefit reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.aws.services.pages import one_page

if TYPE_CHECKING:
    from servefit.aws.services.call import Call

_READ = (
    ("xgboost", "MACHINE_LEARNING", "OTHER", "XGBOOST", "1.7-1"),
    ("sklearn", "MACHINE_LEARNING", "OTHER", "SAGEMAKER-SCIKIT-LEARN", "1.2-1"),
    ("lightgbm", "MACHINE_LEARNING", "OTHER", "LIGHTGBM", "4.6"),
    ("onnx", "MACHINE_LEARNING", "OTHER", "ONNX", "1.16"),
)
"""Name, domain, task, framework and version, as notebooks choose by. Versions are those of the containers that AWS's
notebooks name; models are read by what is installed here, whatever these say."""

_FIELDS = ("Model", "Domain", "Task", "Framework", "FrameworkVersion")


def model_metadata(call: Call) -> dict[str, Any]:
    request = call.given
    models = [dict(zip(_FIELDS, values, strict=True)) for values in _READ]
    for asked in request.get("SearchExpression", {}).get("Filters", ()):
        models = [model for model in models if model.get(asked["Name"], "").lower() == asked["Value"].lower()]
    page, token = one_page(request, "ListModelMetadata", models)
    return {"ModelMetadataSummaries": page, "NextToken": token}
