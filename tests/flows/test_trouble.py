"""Campaigns in trouble: bad calculators, a second process, Ctrl-C, a full disk, a file that changes under way."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from active_learning.api.status import open_store, read_status
from active_learning.domain.campaign import Phase

SLOW = {"kind": "ase", "calculator": "adversary:LoggingEMT", "calculator_options": {"seconds": 0.5}}


def moody(**moods: str) -> dict[str, Any]:
    return {"kind": "ase", "calculator": "adversary:MoodyEMT", "calculator_options": {"moods": moods}}


def facts_of(path: Path) -> Any:
    store = open_store(path)
    try:
        return store.read()
    finally:
        store.close()


def values_of(path: Path) -> dict[str, float]:
    """Candidate -> value of the target property."""
    return {label.candidate_id: label.value for label in facts_of(path).labels if label.property == "energy_per_atom"}


def status_of(path: Path) -> dict[str, Any]:
    return read_status(path, datetime.now(UTC))


def started(path: Path) -> int:
    log = path.parent / "tiny.campaign" / "launched.log"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def test_a_campaign_goes_on_around_calculations_that_fail_in_every_way(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    moods = {"AuCu3": "raise", "AuCu2": "nan", "Au3Cu": "exit", "AuCu": "kill", "Au2Cu": "hang"}
    path = write_campaign(
        tmp_path,
        labeler=moody(**moods),
        rounds={"initial": 20, "batch_size": 20, "max_in_flight": 20},
        requests={"timeout": "3 s", "poll": 0.05, "retries": 0},
        submitter={"kind": "processes", "workers": 10, "grace": "1 s"},
        stopping={"any": [{"kind": "labels", "max": 60}]},
    )
    end = motherlode("tick", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 0, end.err
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    facts = facts_of(path)
    assert facts.phase is Phase.ACTIVE
    assert len(facts.rounds) == 2
    failed = {request.formula: request.failure for request in facts.requests if request.failure}
    assert {formula: failure.kind.value for formula, failure in failed.items()} == {
        "AuCu3": "crashed",
        "AuCu2": "unparsable",
        "Au3Cu": "crashed",
        "AuCu": "crashed",
        "Au2Cu": "timeout",
    }
    assert "the charge density sloshes" in failed["AuCu3"].detail
    assert "nan" in failed["AuCu2"].detail
    assert "status 7" in failed["Au3Cu"].detail
    assert "SIGKILL" in failed["AuCu"].detail
    assert "3 s" in failed["Au2Cu"].detail
    assert facts.labels
    assert status_of(path)["n_failed"] == sum(request.failure is not None for request in facts.requests)


def test_a_calculator_that_always_fails_fails_the_campaign_and_a_repaired_one_goes_on(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    broken = write_campaign(tmp_path, labeler=moody(**{"*": "raise"}))
    end = motherlode("run", broken, "--no-prefect", cwd=tmp_path)
    assert end.status == 1
    assert "Campaign 'tiny' cannot go on. 0 of the first 6 requests gave a label" in end.err
    assert "the charge density sloshes" in end.err
    assert "raise 'retries'" in end.err
    assert status_of(broken)["phase"] == "failed"
    assert motherlode("run", broken, "--no-prefect", cwd=tmp_path).status == 1
    module = tmp_path / "adversary.py"
    module.write_text(module.read_text().replace("the charge density sloshes", "").replace('"raise"', '"never"'))
    repaired = write_again(broken, "'retries': 0", '"retries" = 0', '"retries" = 1')
    end = motherlode("run", repaired, "--no-prefect", cwd=tmp_path)
    assert end.status == 0, end.err
    assert status_of(repaired)["n_labels"] == 14


def write_again(path: Path, what: str, old: str, new: str) -> Path:
    """Change a campaign file; `what` says what for."""
    text = path.read_text()
    assert old in text, f"{what}: {old!r} is not in {text}"
    path.write_text(text.replace(old, new))
    return path


def test_candidates_whose_features_fail_are_left_out_with_the_reason(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    pool = {"kind": "prototypes", "elements": ["Cu", "Au", "Ag", "Al"], "n_elements": [1], "max_atoms": 1}
    features = {"kind": "adversary:Fractions", "refuse": ["Ag"], "die": "cF4_225_a (Cu): Al for Cu"}
    path = write_campaign(tmp_path, pool=pool, features=features, stopping={"any": [{"kind": "labels", "max": 4}]})
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 0, end.err
    assert "candidates failed" in end.out
    assert {request.formula for request in facts_of(path).requests} <= {"Cu", "Au", "Al"}
    report = motherlode("report", path, cwd=tmp_path)
    assert report.status == 0
    page = Path(report.out.strip()).read_text()
    assert "nothing is known of Ag" in page
    assert "ended its process" in page


def test_features_that_all_fail_end_the_campaign_with_an_example(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path, features={"kind": "adversary:Fractions", "refuse": ["Cu", "Au"]})
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 1
    assert "No candidate of 87 could be featurized" in end.err
    assert "nothing is known of" in end.err
    checked = motherlode("check", path, cwd=tmp_path)
    assert checked.status == 2
    assert "every candidate of a sample failed" in checked.err


@pytest.fixture
def live(motherlode: Any, tmp_path: Path, write_campaign: Any) -> Iterator[tuple[Any, Path]]:
    """A campaign that a process is working on: its first labels are in, and there are more to come."""
    path = write_campaign(tmp_path, labeler=SLOW)
    run = motherlode.start("run", path, "--no-prefect", cwd=tmp_path)
    run.until(lambda: started(path) >= 3, "three jobs")
    yield run, path
    run.signal(signal.SIGKILL)
    run.wait()


def test_a_second_run_or_tick_is_refused_and_names_who_works(motherlode: Any, live: tuple[Any, Path]) -> None:
    run, path = live
    for command in ("run", "tick"):
        end = motherlode(command, path, "--no-prefect", cwd=path.parent)
        assert end.status == 1
        assert f"Campaign 'tiny' is being worked on by process {run.pid} on " in end.err
        assert "Traceback" not in end.err
    assert status_of(path)["working"].startswith(f"process {run.pid} on ")
    assert run.poll() is None


def test_status_tell_and_pause_work_while_a_campaign_runs(motherlode: Any, live: tuple[Any, Path]) -> None:
    run, path = live
    found = json.loads(motherlode("status", path, "--json", cwd=path.parent).out)
    assert found["phase"] == "active"
    assert found["n_in_flight"] >= 1
    assert motherlode("export", path, "features", cwd=path.parent).status == 0
    requested = {request.candidate_id for request in facts_of(path).requests}
    ids = [line.split(",")[0] for line in (path.parent / "features.csv").read_text().splitlines()[1:]]
    free = next(candidate for candidate in ids if candidate not in requested)
    (path.parent / "mine.csv").write_text(f"candidate,value\n{free},-9.0\n")
    told = motherlode("tell", path, "mine.csv", cwd=path.parent)
    assert (told.status, told.out) == (0, "1 new labels, 0 known already\n"), told.err
    assert motherlode("pause", path, cwd=path.parent).status == 0
    end = run.wait()
    assert end.status == 0, end.err
    assert "paused" in end.out
    found = status_of(path)
    assert (found["phase"], found["n_in_flight"]) == ("paused", 0)
    assert found["best"]["value"] == -9.0
    assert "paused already" in motherlode("pause", path, cwd=path.parent).out
    assert motherlode("resume", path, cwd=path.parent).status == 0
    assert motherlode("run", path, "--no-prefect", cwd=path.parent).status == 0
    found = status_of(path)
    assert (found["phase"], found["n_labels"], found["best"]["value"]) == ("stopped", 14, -9.0)


def test_ctrl_c_says_that_nothing_is_lost_leaves_no_process_and_the_run_resumes(
    motherlode: Any, live: tuple[Any, Path]
) -> None:
    run, path = live
    children = psutil.Process(run.pid).children(recursive=True)
    assert children
    run.signal(signal.SIGINT)
    end = run.wait(20)
    assert end.status == 130
    assert end.err.strip() == "Interrupted. Nothing is lost; the same command goes on where it was."
    _gone, alive = psutil.wait_procs(children, timeout=2)
    assert not alive
    assert status_of(path)["working"] is None
    before = values_of(path)
    assert motherlode("run", path, "--no-prefect", cwd=path.parent).status == 0
    assert before.items() <= values_of(path).items()
    log = (path.parent / "tiny.campaign" / "launched.log").read_text().splitlines()
    assert max(Counter(log).values()) == 1


def test_a_changed_table_that_gives_labels_their_meaning_is_refused_by_name(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path)
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    before = facts_of(path)
    write_again(path, "another labeler", '"calculator" = "emt"', '"calculator" = "emt", "relax" = "positions"')
    write_again(path, "another pool", '"max_atoms" = 4', '"max_atoms" = 5')
    for command in ("run", "tick"):
        end = motherlode(command, path, "--no-prefect", cwd=tmp_path)
        assert end.status == 2
        assert "[labeler], [pool] changed since campaign 'tiny' started" in end.err
    after = facts_of(path)
    assert (after.labels, after.requests, after.phase) == (before.labels, before.requests, before.phase)


def test_a_larger_budget_reopens_a_campaign_that_had_stopped(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path)
    assert motherlode("run", path, "--no-prefect", cwd=tmp_path).status == 0
    first = facts_of(path)
    again = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert again.status == 0
    assert facts_of(path).labels == first.labels
    write_again(path, "a larger budget", '"max" = 14', '"max" = 18')
    assert motherlode("run", path, "--no-prefect", cwd=tmp_path).status == 0
    after = facts_of(path)
    assert after.labels[: len(first.labels)] == first.labels
    assert len(values_of(path)) == 18
    assert after.phase is Phase.STOPPED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only an administrator can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_to_be_full_and_with_more_space_the_same_command_goes_on(
    motherlode: Any, tmp_path: Path, write_campaign: Any, small_disk: Path
) -> None:
    path = write_campaign(tmp_path, workdir=str(small_disk / "w"))
    for size in ("150k", "240k", "330k", "420k"):
        subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
        end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
        assert end.status == 1, end.out
        assert "Error: " in end.err.splitlines()[-1]
        assert "full" in end.err or "No space left" in end.err
        assert "lost" in end.err
    subprocess.run(["mount", "-o", "remount,size=50M", small_disk], check=True)
    seen = values_of(path)
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 0, end.err
    assert seen.items() <= values_of(path).items()
    assert len(values_of(path)) == 14


def test_a_file_size_limit_ends_a_run_clearly_and_without_it_the_same_command_goes_on(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path)
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path, limit=110_000)
    assert end.status == 1
    assert "Error: " in end.err.splitlines()[-1]
    assert "run the same command" in end.err
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 0, end.err
    assert status_of(path)["n_labels"] == 14
