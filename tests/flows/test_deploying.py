"""`motherlode deploy`: schedules that are none are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--every", "soon"), "--every 'soon': "),
        (("--every", "2s"), "say 10 s or more"),
        (("--cron", "every day"), "--cron 'every day': "),
        (("--every", "1h", "--cron", "* * * * *"), "one of them, please"),
    ],
)
def test_a_schedule_that_is_none_is_refused(
    option: tuple[str, ...],
    said: str,
    tmp_path: Path,
    motherlode: Any,
    write_campaign: Callable[..., Path],
    prefect_home: dict[str, str],
) -> None:
    end = motherlode("deploy", write_campaign(tmp_path), *option, cwd=tmp_path, env=prefect_home)
    assert end.status == 2, end.out
    assert said in end.err
