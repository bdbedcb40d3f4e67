"""What tests of real schedulers and real codes do where those cannot be had: fail, and say why."""

from __future__ import annotations

import os

import pytest

__all__ = ["SKIP", "need"]

SKIP = "MOTHERLODE_SKIP_HPC"


def need(missing: str | None) -> None:
    """Fail the test for what is missing here, unless its skipping was asked for."""
    if missing is None:
        return
    if os.environ.get(SKIP) == "1":
        pytest.skip(f"{SKIP}=1, and {missing}")
    pytest.fail(f"{missing}. These tests are about the real thing; set {SKIP}=1 to go without", pytrace=False)
