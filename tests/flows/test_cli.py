"""The `motherlode` command as a user meets it: what it says, how it ends, and that bad input costs nothing."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from active_learning.errors import UserError
from flows.cli import doctor

COMMANDS = (
    *("init", "check", "run", "tick", "ui", "status", "report", "export", "replay", "tell", "retract"),
    *("pause", "resume", "cancel", "approve", "deploy", "undeploy", "backtest", "plugins", "doctor"),
)


def refused(end: Any, status: int, *said: str) -> None:
    """The command failed with a message of a few lines on stderr, no traceback, and this in it."""
    assert end.status == status, f"{end.out}\n{end.err}"
    assert "Traceback" not in end.err
    assert "should not happen" not in end.err
    assert 1 <= len(end.err.strip().splitlines()) <= 12
    for text in said:
        assert text in end.err


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, motherlode: Any, write_campaign: Any) -> Path:
    """The file of a campaign that ran to its end. Tests only look at it."""
    folder: Path = tmp_path_factory.mktemp("ended")
    path: Path = write_campaign(folder)
    end = motherlode("run", path, "--no-prefect", cwd=folder)
    assert end.status == 0, end.err
    assert re.search(r"^tiny stopped after \d+ s: The budget of 14 labels is used up", end.out, re.MULTILINE)
    assert end.err == ""
    return path


def test_help_lists_the_commands_in_the_order_a_user_meets_them(motherlode: Any, tmp_path: Path) -> None:
    end = motherlode("--help", cwd=tmp_path)
    assert end.status == 0
    assert tuple(re.findall(r"^  ([a-z]+)  +\S", end.out.partition("Commands:")[2], re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, motherlode: Any, tmp_path: Path) -> None:
    end = motherlode(command, "--help", cwd=tmp_path)
    assert end.status == 0
    assert end.out.startswith(f"Usage: motherlode {command}")
    assert len(end.out.split("\n\n")[1].strip()) >= 15


def test_init_writes_a_file_that_check_finds_nothing_wrong_with(motherlode: Any, tmp_path: Path) -> None:
    end = motherlode("init", "mine", cwd=tmp_path)
    assert end.status == 0
    assert "motherlode run mine/campaign.toml" in end.out
    checked = motherlode("check", "mine/campaign.toml", "--try-label", cwd=tmp_path)
    assert checked.status == 0, checked.err
    assert "ready: motherlode run mine/campaign.toml" in checked.out
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["campaign.toml"], "check leaves nothing behind"


def test_init_overwrites_nothing_and_knows_its_templates(motherlode: Any, tmp_path: Path) -> None:
    assert motherlode("init", ".", cwd=tmp_path).status == 0
    refused(motherlode("init", ".", cwd=tmp_path), 2, "campaign.toml is there already")
    refused(motherlode("init", "x", "--template", "nosuch", cwd=tmp_path), 2, "No template named 'nosuch'", "alloys")


def test_status_of_an_ended_campaign_for_people_and_for_programs(motherlode: Any, ended: Path) -> None:
    said = motherlode("status", ended, cwd=ended.parent)
    assert said.status == 0
    assert "stopped, The budget of 14 labels is used up" in said.out
    assert "14 of 87 candidates" in said.out
    found = json.loads(motherlode("status", ended, "--json", cwd=ended.parent).out)
    promised = {"name", "phase", "round", "n_candidates", "n_labels", "n_failed", "n_in_flight", "best", "stop_reason"}
    assert promised | {"metrics"} <= found.keys()
    assert (found["phase"], found["n_labels"], found["n_candidates"], found["n_failed"]) == ("stopped", 14, 87, 0)
    assert {"candidate", "formula", "value", "unit"} <= found["best"].keys()
    watched = motherlode("status", ended, "--watch", "--json", cwd=ended.parent)
    assert json.loads(watched.out) == found


def test_report_is_one_file_with_its_pictures_inside(motherlode: Any, ended: Path, tmp_path: Path) -> None:
    end = motherlode("report", ended, "--output", tmp_path / "r.html", cwd=tmp_path)
    assert end.status == 0, end.err
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page or "data:image/" in page
    assert "<script src" not in page
    assert not re.search(r"""(?:src|href)=["']https?://(?!doi|www|github)""", page.partition("<footer")[0])


@pytest.mark.parametrize("what", ["labels", "pending", "best", "predictions", "features"])
def test_export_writes_each_table_as_csv(what: str, motherlode: Any, ended: Path, tmp_path: Path) -> None:
    end = motherlode("export", ended, what, "--output", tmp_path / f"{what}.csv", cwd=tmp_path)
    assert end.status == 0, end.err
    with (tmp_path / f"{what}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} rows" in end.out
    assert len(rows) >= {"labels": 14, "pending": 0, "best": 1, "predictions": 87, "features": 87}[what]


@pytest.mark.parametrize("ending", ["json", "parquet", "extxyz", "cif"])
def test_export_writes_the_best_in_each_format(ending: str, motherlode: Any, ended: Path, tmp_path: Path) -> None:
    end = motherlode("export", ended, "best", "--output", tmp_path / f"best.{ending}", cwd=tmp_path)
    assert end.status == 0, end.err
    assert (tmp_path / f"best.{ending}").stat().st_size > 100


def test_export_says_what_there_is_to_export(motherlode: Any, ended: Path, tmp_path: Path) -> None:
    refused(motherlode("export", ended, "lables", cwd=tmp_path), 2, "lables", "labels")
    refused(motherlode("export", ended, "labels", "--output", "x.docx", cwd=tmp_path), 2, "docx", "csv")
    refused(motherlode("export", ended, "labels", "--output", ended / "x.csv", cwd=tmp_path), 2, "x.csv")


def test_plugins_lists_every_table(motherlode: Any, tmp_path: Path) -> None:
    end = motherlode("plugins", cwd=tmp_path)
    assert end.status == 0
    for kind in ("prototypes", "matminer", "random_forest", "upper_confidence_bound", "diverse", "ase", "processes"):
        assert re.search(rf"^  {kind} ", end.out, re.MULTILINE)
    assert {"group", "kind"} <= json.loads(motherlode("plugins", "--json", cwd=tmp_path).out)[0].keys()


def test_doctor_tells_of_extras_that_are_not_installed_and_calls_what_is_broken_bad(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacking(group: str, kind: str) -> None:
        cause = {"dask": ModuleNotFoundError(name="distributed.client"), "slurm": ImportError("libfoo.so")}.get(kind)
        if cause is not None:
            raise UserError(f"The submitter '{kind}' cannot be imported: {cause}.") from cause

    monkeypatch.setattr(doctor, "load", lacking)
    with pytest.raises(UserError, match="libfoo"):
        doctor._plugins()
    monkeypatch.setattr(doctor, "load", lambda group, kind: None if kind == "slurm" else lacking(group, kind))
    assert doctor._plugins().endswith("plug-ins import; not installed what these need: dask (distributed)")


def test_doctor_finds_nothing_wrong_here(motherlode: Any, tmp_path: Path) -> None:
    end = motherlode("doctor", cwd=tmp_path)
    assert end.status == 0, end.out + end.err
    assert "nothing stands in the way" in end.out


def test_an_unknown_command_or_option_is_the_users_error(motherlode: Any, tmp_path: Path) -> None:
    refused(motherlode("frobnicate", cwd=tmp_path), 2, "No such command 'frobnicate'")
    refused(motherlode("run", cwd=tmp_path), 2, "Missing argument 'FILE'")
    refused(motherlode("status", "x.toml", "--jsn", cwd=tmp_path), 2, "No such option", "--json")


@pytest.mark.parametrize(
    "command", ["check", "run", "tick", "status", "report", "pause", "resume", "cancel", "approve"]
)
def test_a_missing_file_is_named_with_its_likely_neighbor(
    command: str, motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    write_campaign(tmp_path)
    refused(motherlode(command, "campain.toml", cwd=tmp_path), 2, "campain.toml", "Did you mean campaign.toml?")
    refused(motherlode(command, ".", cwd=tmp_path), 2, "is a folder")
    assert not (tmp_path / "tiny.campaign").exists()


def test_every_fault_of_a_file_is_told_at_once_with_its_line(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(
        tmp_path,
        target={"property": "energy_per_atom", "goal": "minimise"},
        pool={"kind": "prototypes", "elements": ["Cu", "Xx"], "max_atomz": 4},
        surrogate={"kind": "randm_forest"},
        rounds={"initial": "six", "batch_size": 4, "max_in_flight": 4},
        requests={"timeout": "soon"},
    )
    for command in ("check", "run", "tick"):
        refused(
            motherlode(command, path, cwd=tmp_path),
            2,
            "6 faults",
            "target.goal: Input should be 'minimize'",
            "line 4, pool.max_atomz: unknown key. Did you mean 'max_atoms'?",
            "Xx",
            "surrogate.kind: No surrogate named 'randm_forest'. Did you mean 'random_forest'?",
            "rounds.initial",
            "'soon' is not a duration",
        )
    assert not (tmp_path / "tiny.campaign").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "x', "not valid TOML"),
        ("", "name: missing"),
        ("name = 7", "name"),
        ("[target]\n[target]\n", "not valid TOML"),
        ("\x00", "not valid TOML"),
    ],
)
def test_a_file_that_is_no_campaign_file_is_refused(text: str, said: str, motherlode: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    refused(motherlode("check", "c.toml", cwd=tmp_path), 2, "c.toml", said)
    refused(motherlode("status", "c.toml", cwd=tmp_path), 2, "c.toml")


def test_a_file_that_is_not_text_is_refused(motherlode: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe\x80")
    refused(motherlode("run", "c.toml", cwd=tmp_path), 2, "c.toml cannot be read")


@pytest.mark.parametrize("command", ["status", "report", "pause", "resume", "cancel", "approve"])
def test_a_campaign_that_never_started_is_said_to_be_so(
    command: str, motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    refused(motherlode(command, write_campaign(tmp_path), cwd=tmp_path), 2, "has not started", "motherlode run")
    assert not (tmp_path / "tiny.campaign").exists()


def test_elements_that_the_calculator_lacks_are_found_by_check(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    pool = {"kind": "prototypes", "elements": ["Cu", "Fe"], "max_atoms": 2}
    path = write_campaign(tmp_path, pool=pool)
    refused(motherlode("check", path, cwd=tmp_path), 2, "Fe: emt has no parameters for it", "1 thing to put right")


def test_a_calculator_of_an_unknown_name_is_found_by_check(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path, labeler={"kind": "ase", "calculator": "emtt"})
    refused(motherlode("check", path, cwd=tmp_path), 2, "no calculator named 'emtt'. Did you mean 'emt'?")


def test_a_calculator_that_fails_is_found_by_trying_it(motherlode: Any, tmp_path: Path, write_campaign: Any) -> None:
    labeler = {"kind": "ase", "calculator": "adversary:MoodyEMT", "calculator_options": {"moods": {"*": "raise"}}}
    end = motherlode("check", write_campaign(tmp_path, labeler=labeler), "--try-label", cwd=tmp_path)
    refused(end, 2, "crashed: RuntimeError: the charge density sloshes")


def test_an_empty_pool_is_refused_by_check_and_by_run(motherlode: Any, tmp_path: Path, write_campaign: Any) -> None:
    path = write_campaign(tmp_path, pool={"kind": "prototypes", "elements": ["Cu"], "n_elements": [5]})
    refused(motherlode("check", path, cwd=tmp_path), 2, "0 candidates")
    refused(motherlode("run", path, "--no-prefect", cwd=tmp_path), 2, "The pool is empty", "[pool]")


@pytest.mark.parametrize("workdir", ["campaign.toml/below", "/proc/motherlode"])
def test_a_workdir_that_cannot_be_written_is_found_by_check_and_by_run(
    workdir: str, motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path, workdir=workdir)
    refused(motherlode("check", path, cwd=tmp_path), 2, "nothing can be written in", workdir)
    refused(motherlode("run", path, "--no-prefect", cwd=tmp_path), 2, "The workdir", workdir)


def test_a_campaign_that_started_is_checked_against_what_it_started_with(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path)
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    assert "the campaign has started, and may go on" in motherlode("check", path, cwd=tmp_path).out
    path = write_campaign(tmp_path, labeler={"kind": "ase", "calculator": "emt", "relax": "positions"})
    refused(motherlode("check", path, cwd=tmp_path), 2, "[labeler] changed since campaign", "1 thing to put right")


def test_a_backend_that_is_not_there_is_found_by_check(motherlode: Any, tmp_path: Path, write_campaign: Any) -> None:
    queue = {"kind": "command", "submit": ["true", "{script}"], "cancel": ["true", "{handle}"]}
    patterns = {"status_pattern": r"(?P<id>\d+) (?P<name>\S+) (?P<state>\S+)", "handle_pattern": r"(\d+)"}
    states = {"states": {"R": "running"}}
    path = write_campaign(tmp_path, submitter=queue | patterns | states | {"status": ["false"]})
    refused(motherlode("check", path, cwd=tmp_path), 2, "submitter false ended with status 1", "1 thing to put right")
    path = write_campaign(tmp_path, submitter=queue | patterns | states | {"status": ["echo", "7 other R"]})
    assert "the status command answers; jobs that it lists: 1" in motherlode("check", path, cwd=tmp_path).out


def test_a_round_waits_for_approval_and_a_campaign_ends_when_it_is_told_to(
    motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    path = write_campaign(tmp_path, approval={"required": True})
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    listed = motherlode("approve", path, "--list", cwd=tmp_path).out
    assert "round 0 waits since" in listed
    assert "k-means representative" in listed
    refused(motherlode("approve", path, "--drop", "nobody", cwd=tmp_path), 2, "Round 0 does not ask for nobody")
    refused(motherlode("approve", path, "--reject", "--drop", "x", cwd=tmp_path), 2, "leave --drop out")
    first = listed.splitlines()[1].split()[0]
    said = motherlode("approve", path, "--drop", first, cwd=tmp_path).out
    assert "1 dropped, not to be proposed again" in said
    refused(motherlode("approve", path, cwd=tmp_path), 2, "No round of campaign", "is waiting for approval")
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    ended = motherlode("cancel", path, "--reason", "enough", cwd=tmp_path)
    assert ended.status == 0, ended.err
    assert "is to end: nothing new is asked" in ended.out
    assert "stopped: enough" in ended.out
    assert "stopped, enough" in motherlode("status", path, cwd=tmp_path).out
    refused(motherlode("cancel", path, cwd=tmp_path), 2, "is stopped already")
    assert "goes on with the next run or tick" in motherlode("resume", path, cwd=tmp_path).out


def test_labels_are_told_once_and_conflicts_refused(motherlode: Any, tmp_path: Path, write_campaign: Any) -> None:
    path = write_campaign(tmp_path)
    assert motherlode("tick", path, "--no-prefect", cwd=tmp_path).status == 0
    assert motherlode("export", path, "features", cwd=tmp_path).status == 0
    known = {row["candidate"] for row in _rows(tmp_path / "labels.csv", motherlode, path)}
    with (tmp_path / "features.csv").open() as table:
        free = next(row["candidate"] for row in csv.DictReader(table) if row["candidate"] not in known)
    (tmp_path / "mine.csv").write_text(f"candidate,value,unit\n{free},-1.5,eV/atom\n")
    first = motherlode("tell", path, "mine.csv", cwd=tmp_path)
    assert (first.status, first.out) == (0, "1 new labels, 0 known already\n")
    assert motherlode("tell", path, "mine.csv", cwd=tmp_path).out == "0 new labels, 1 known already\n"
    (tmp_path / "mine.csv").write_text(f"candidate,value,unit\n{free},-1.6,eV/atom\n")
    refused(motherlode("tell", path, "mine.csv", cwd=tmp_path), 2, "1 labels refused", free)
    rows = _rows(tmp_path / "labels.csv", motherlode, path)
    assert [row["value"] for row in rows if row["candidate"] == free] == ["-1.5"]


def _rows(file: Path, motherlode: Any, path: Path) -> list[dict[str, str]]:
    assert motherlode("export", path, "labels", "--output", file, cwd=path.parent).status == 0
    with file.open() as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "mine.csv cannot be read: No such file or directory"),
        ("material,value\nCu,1\n", "needs the columns 'candidate' (or 'formula') and 'value'; it has: material, value"),
        ("candidate,value\nnosuch,1\n", "no candidate 'nosuch' in the pool"),
        ("formula,value\nAuCu3,1\n", "candidates have the formula AuCu3; give the candidate's id"),
        ("formula,value\nAuCu3,nan\n", "line 2"),
        ("formula,value\nAuCu3,one\n", "line 2"),
        ("formula,value,unit\nCu,1,Ha\n", "unit 'Ha', but energy_per_atom is in 'eV/atom'"),
    ],
)
def test_told_labels_that_make_no_sense_are_refused_whole(
    text: str | None, said: str, motherlode: Any, ended: Path, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "mine.csv").write_text(text)
    before = motherlode("status", ended, "--json", cwd=tmp_path).out
    refused(motherlode("tell", ended, "mine.csv", cwd=tmp_path), 2, said)
    assert motherlode("status", ended, "--json", cwd=tmp_path).out == before
