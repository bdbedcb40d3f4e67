"""Passwords and keys, of the environment and of the campaign file: in no log, artifact, event or report."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

OF_THE_FILE = "correct-horse-battery-staple"
OF_THE_ENVIRONMENT = "tr0ub4dor-and-3"


KNOWN_TO_PREFECT = {
    "task_run": "AuCu3",
    "task_run_state": "refused by https://me:***@potentials.example/v1?api_key=***",
    "artifact": "discreet",
    "events": "motherlode.campaign.finished",
}


def _settled_memory(home: Path) -> dict[str, str]:
    """What the server knows in the end: it writes down what happened after it has said that it will."""
    deadline = time.monotonic() + 120
    memory = _prefects_memory(home)
    while not all(text in memory[table] for table, text in KNOWN_TO_PREFECT.items()) and time.monotonic() < deadline:
        time.sleep(1)
        memory = _prefects_memory(home)
    return memory


def _prefects_memory(home: Path) -> dict[str, str]:
    """Every table of the server's database, as text."""
    (database,) = home.rglob("prefect.db")
    opened = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    names = [name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")]
    found = {name: "\n".join(map(repr, opened.execute(f'select * from "{name}"'))) for name in names}
    opened.close()
    return found


@pytest.mark.slow
def test_no_secret_leaves_the_campaign_file_and_the_environment(
    tmp_path: Path, motherlode: Any, write_campaign: Any, prefect_home: Mapping[str, str]
) -> None:
    labeler = {"kind": "ase", "calculator": "adversary:TalkativeEMT", "calculator_options": {"api_key": OF_THE_FILE}}
    path = write_campaign(tmp_path, name="discreet", labeler=labeler)
    known = {"MP_API_KEY": OF_THE_ENVIRONMENT, "PGPASSWORD": OF_THE_ENVIRONMENT, "MY_TOKEN": OF_THE_ENVIRONMENT}
    end = motherlode.cold("run", path, cwd=tmp_path, env=dict(prefect_home) | known).wait(300)
    assert end.status == 0, end.err
    workdir = tmp_path / "discreet.campaign"
    refused = [job for job in workdir.glob("jobs/*/*") if OF_THE_FILE.encode() in job.read_bytes()]
    assert refused, "the calculator was used, and the key is there where the job needs it"
    assert all(job.stat().st_mode & 0o077 == 0 for job in refused)

    memory = _settled_memory(Path(prefect_home["MOTHERLODE_HOME"]))
    for table, text in KNOWN_TO_PREFECT.items():
        assert text in memory[table], "the campaign and its failed calculation are shown"
    assert len(memory["log"]) > 1000
    status = motherlode("status", path, "--json", cwd=tmp_path)
    assert json.loads(status.out)["n_failed"] >= 1
    home = Path(prefect_home["MOTHERLODE_HOME"])
    shown = {f"Prefect's {table}": text for table, text in memory.items()}
    shown |= {file.name: file.read_text(errors="replace") for file in home.rglob("*.log")}
    shown |= {"the report": (workdir / "report.html").read_text(), "stdout": end.out, "stderr": end.err}
    assert [place for place, text in shown.items() if OF_THE_FILE in text] == []

    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file.name for file in files if OF_THE_ENVIRONMENT.encode() in file.read_bytes()] == []
    assert [place for place, text in shown.items() if OF_THE_ENVIRONMENT in text] == []
