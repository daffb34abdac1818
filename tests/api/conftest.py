"""Trials with figures that were never measured, as the tests of the search have them."""

from tests.search.conftest import summary as summary
from tests.search.conftest import trial as trial
