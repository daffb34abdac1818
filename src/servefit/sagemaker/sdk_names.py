"""Parameters that the SDK has for sizing a model and that servefit has other names for, or does not need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.api.notebook_progress import default_progress
from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.sagemaker.sdk_types import listed
from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from servefit.search.optimizer.progress import Progress


def located(field: str, place: Any) -> Any:
    """Return the file of an s3:// or file:// URL, as ``servefit api`` has it in the state folder; anything else as it
    is. Raises SpecError for a URL of elsewhere."""
    if not isinstance(place, str) or "://" not in place:
        return place
    from servefit.aws.s3.places import Places
    from servefit.aws.s3.urls import file_of
    from servefit.aws.server import objects_folder
    from servefit.aws.wire.errors import ApiError

    try:
        return file_of(place, Places(objects_folder()))
    except ApiError as error:
        raise SpecError(field, place, "is no file of this machine", remedy="download it, and name the file") from error


def payload_of(sample_payload: Any, sample_payload_url: str | None) -> Any:
    """Return the payload, by whichever name it was given. Raises SpecError if both are."""
    if sample_payload_url is None:
        return sample_payload
    check_type("sample_payload_url", sample_payload_url, str)
    if sample_payload is not None:
        raise SpecError("sample_payload_url", sample_payload_url, "cannot be combined with sample_payload")
    return located("sample_payload_url", sample_payload_url)


def check_told(options: Mapping[str, Any]) -> None:
    """Raise SpecError for what makes no sense in parameters that change nothing: the content of model and payload tells
    what they are, and phases and stairs what the traffic is."""
    listed("supported_content_types", options["supported_content_types"], str)
    if options["framework"] is not None:
        check_type("framework", options["framework"], str)
    traffic_type = options["traffic_type"]
    if traffic_type is None:
        return
    check_type("traffic_type", traffic_type, str)
    traffics = {"PHASES": options["phases"], "STAIRS": options["stairs"]}
    if traffic_type not in traffics:
        raise SpecError("traffic_type", traffic_type, "is not known; known: PHASES, STAIRS")
    if traffics[traffic_type] is None and any(traffic is not None for traffic in traffics.values()):
        raise SpecError("traffic_type", traffic_type, "is not the traffic that is given")


def listener(log_level: str | None, progress: Progress | None) -> Progress:
    """Return the receivers of events, none for "Quiet". Raises SpecError."""
    if log_level not in (None, "Verbose", "Quiet"):
        raise SpecError("log_level", log_level, "is not known; known: Verbose, Quiet")
    if progress is not None:
        return progress
    return SilentProgress() if log_level == "Quiet" else default_progress()
