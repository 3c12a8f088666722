"""The short form of ``tools/fuzz.py``: a few examples of every property, always the same ones."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from properties import LAWS, PROPERTIES

FEW, FEWER = 20, 5


@pytest.mark.parametrize("name", PROPERTIES)
def test_it_holds(name: str) -> None:
    strategy, check = PROPERTIES[name]
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    sure = settings(
        derandomize=True,
        max_examples=FEWER if name in LAWS else FEW,
        deadline=None,
        database=None,
        suppress_health_check=quiet,
    )
    sure(given(strategy)(check))()
