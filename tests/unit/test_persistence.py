"""A person's word to a campaign that others work on."""

from __future__ import annotations

import pytest

from active_learning.api.persistence import until_it_stands_still
from active_learning.errors import StaleVersion, UserError


def test_it_is_said_again_until_nobody_moved_the_campaign_meanwhile() -> None:
    tries = iter([StaleVersion("moved"), StaleVersion("moved"), None])

    def say() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "said"

    assert until_it_stands_still(say) == "said"
    assert next(tries, "none left") == "none left"


def test_what_never_stands_still_is_told_so_and_other_errors_at_once() -> None:
    calls: list[int] = []

    def never() -> None:
        calls.append(1)
        raise StaleVersion("moved again")

    with pytest.raises(StaleVersion, match="moved again"):
        until_it_stands_still(never)
    assert len(calls) == 50

    def wrong() -> None:
        raise UserError("no such candidate")

    with pytest.raises(UserError, match="no such candidate"):
        until_it_stands_still(wrong)
