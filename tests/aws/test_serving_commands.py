"""The variables of a recommendation, and the command that serves it by them."""

from __future__ import annotations

from servefit.aws.endpoints.commands import serving_command, variables_of
from servefit.profiler.record.types import Configuration

CONFIGURATION = Configuration(
    vcpus=1, backend="forest", workers=2, max_batch=8, batch_delay_us=50, environment=(("MY_SWITCH", "on"),)
)


def served(variables: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The options of the command, and its environment."""
    serving = serving_command("m.ubj", "ml.c5.large", variables, name="m", trust_pickle=False, allowed=("MY_SWITCH",))
    options = serving.arguments[5:]
    return dict(zip(options[::2], options[1::2], strict=True)), dict(serving.environment)


def test_a_command_serves_what_the_variables_say() -> None:
    options, environment = served(variables_of(CONFIGURATION, measured_as="local-1c", basis="measured"))
    assert options["--profile"] == "local-1c"
    assert options["--backend"] == "forest"
    assert (options["--batch"], options["--batch-delay"]) == ("8", "50us")
    assert options["--secret-env"] == "MY_SWITCH"
    assert environment == {"MY_SWITCH": "on"}


def test_figures_that_are_predicted_are_told_as_such_and_the_same_is_served() -> None:
    measured = variables_of(CONFIGURATION, measured_as=None, basis="measured")
    predicted = variables_of(CONFIGURATION, measured_as=None, basis="predicted")
    assert predicted == {**measured, "SERVEFIT_BASIS": "predicted"}
    assert served(predicted) == served(measured)
