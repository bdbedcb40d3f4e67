"""The labeler `manual` and the submitter `person`: what people are asked for, and what they may do to the table."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from active_learning.api.campaign import Campaign
from active_learning.api.telling import Told, read_labels
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import Job, JobPhase, JobSpec, Resources
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.protocols import AnsweredByPeople, Cancels, DiesWithProcess
from active_learning.domain.request import RequestState
from active_learning.errors import BackendError, TransientSubmitError, UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import ALREADY_STARTED, execute
from active_learning.labelers.manual import Manual
from active_learning.submitters.person.submitter import Person
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers

CRYSTAL = Crystal(((0, 2.0, 2.0), (2.0, 0, 2.0), (2.0, 2.0, 0)), ("F", "Li"), ((0, 0, 0), (0.5, 0.5, 0.5)))
LI_F = Candidate.of(CRYSTAL, origin="=cmd|' /C calc'!A0; $(touch escaped)\n")
AL_CU = Candidate({"Al": 1, "Cu": 3})
MG_O = Candidate({"Mg": 1, "O": 1})


def manual(**options: object) -> Manual:
    return Manual(Manual.Options.model_validate({"unit": "HV"} | options)).for_property("hardness")


def job_of(candidate: Candidate, workdir: Path, attempt: int = 1) -> Job:
    directory = JobDirectory(workdir / "jobs" / f"{candidate.id}-{attempt}")
    return directory.prepare(manual().prepare(candidate), f"c-{candidate.id}-{attempt}", Resources(60.0))


def table(workdir: Path) -> list[dict[str, str]]:
    with (workdir / "to_label.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def person() -> Person:
    return Person(Person.Options())


def test_people_get_the_structure_in_the_formats_that_they_want(tmp_path: Path) -> None:
    spec = manual(formats=("poscar", "cif")).prepare(LI_F)
    assert list(spec.files) == ["candidate.json", "POSCAR", "structure.cif"]
    assert spec.inputs["structures"] == ["POSCAR", "structure.cif"]
    assert set(manual().prepare(AL_CU).files) == {"candidate.json"}
    with pytest.raises(UserError, match="does not know which property to ask for"):
        Manual(Manual.Options()).prepare(LI_F)


def test_a_job_of_people_that_somebody_runs_says_that_it_is_none(tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path / "job")
    directory.prepare(manual().prepare(LI_F), "job", Resources(60.0))
    execute(directory.path)
    found = manual().parse(directory.path)
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert found.detail == "hardness of FLi is for people to find out: labeler 'manual' needs the submitter 'person'"


def test_labeler_and_submitter_say_that_people_answer(person: Person) -> None:
    assert isinstance(person, AnsweredByPeople)
    assert isinstance(person, Cancels)
    assert not isinstance(person, DiesWithProcess)
    assert person.answered_by_people
    assert manual().answered_by_people


def test_a_request_is_a_row_with_the_way_to_its_structure(person: Person, tmp_path: Path) -> None:
    for candidate in (LI_F, AL_CU):
        person.submit(job_of(candidate, tmp_path))
    assert table(tmp_path) == [
        {
            "candidate": LI_F.id,
            "formula": "FLi",
            "structure": f"jobs/{LI_F.id}-1/structure.cif",
            "value": "",
            "unit": "HV",
            "std": "",
        },
        {"candidate": AL_CU.id, "formula": "AlCu3", "structure": "", "value": "", "unit": "HV", "std": ""},
    ]
    assert (tmp_path / table(tmp_path)[0]["structure"]).is_file()
    assert (tmp_path / "to_label.csv").stat().st_mode & 0o777 == 0o600


def test_a_filled_table_can_be_told_as_it_is(person: Person, tmp_path: Path) -> None:
    person.submit(job_of(LI_F, tmp_path))
    path = tmp_path / "to_label.csv"
    path.write_text(path.read_text().replace(",,HV,", ",217.5,HV,3"))
    (told,), _ = read_labels(path)
    assert (told.candidate, told.value, told.unit, told.std) == (LI_F.id, 217.5, "HV", 3.0)


def test_a_submitted_request_runs_until_it_is_withdrawn(person: Person, tmp_path: Path) -> None:
    job, other = job_of(LI_F, tmp_path), job_of(AL_CU, tmp_path)
    assert person.find(job) is None
    handle = person.submit(job)
    assert person.submit(job) == handle == person.find(job)
    kept = person.submit(other)
    assert person.poll([]) == {}
    assert [report.phase for report in person.poll([handle, kept]).values()] == [JobPhase.RUNNING] * 2
    person.cancel([handle, "/no/such/handle", handle])
    person.cancel([handle])
    reports = person.poll([handle, kept])
    assert reports[handle].phase is JobPhase.ENDED
    failure = reports[handle].failure
    assert failure is not None
    assert failure.kind is FailureKind.CANCELLED
    assert reports[kept].phase is JobPhase.RUNNING
    assert [row["formula"] for row in table(tmp_path)] == ["AlCu3"]
    assert person.find(job) == handle


def test_a_job_that_nobody_was_asked_for_is_gone(person: Person, tmp_path: Path) -> None:
    handle = str(job_of(LI_F, tmp_path).directory)
    assert person.poll([handle, "/no/such/handle"]) == {
        handle: person.poll([handle])[handle],
        "/no/such/handle": person.poll([handle])[handle],
    }
    assert person.poll([handle])[handle].phase is JobPhase.GONE
    assert not (tmp_path / "to_label.csv").exists()


def test_a_job_that_people_are_asked_for_cannot_be_run_by_mistake(person: Person, tmp_path: Path) -> None:
    job = job_of(LI_F, tmp_path)
    person.submit(job)
    assert execute(Path(job.directory)) == ALREADY_STARTED


def test_another_process_finds_and_answers(person: Person, tmp_path: Path) -> None:
    job = job_of(LI_F, tmp_path)
    handle = person.submit(job)
    code = (
        "import sys; from active_learning.submitters.person.submitter import Person;"
        "print(Person(Person.Options()).poll([sys.argv[1]])[sys.argv[1]].phase)"
    )
    done = subprocess.run([sys.executable, "-c", code, handle], capture_output=True, text=True, check=True)
    assert done.stdout == "running\n"


def test_a_crash_between_row_and_mark_leaves_one_row(person: Person, tmp_path: Path, monkeypatch: object) -> None:
    job = job_of(LI_F, tmp_path)
    person.submit(job)
    (Path(job.directory) / "started").unlink()
    assert person.find(job) is None
    person.submit(job)
    assert len(table(tmp_path)) == 1


def test_what_people_wrote_and_how_they_sorted_it_stays(person: Person, tmp_path: Path) -> None:
    person.submit(job_of(LI_F, tmp_path))
    person.submit(job_of(AL_CU, tmp_path))
    path = tmp_path / "to_label.csv"
    mine = f'\ufeffformula,candidate,by,structure,value,unit,std\r\nAlCu3,{AL_CU.id},"Ann, Bo",,12,HV,\r\n\r\n'
    mine += f"FLi,{LI_F.id},,x,,HV\r\n"
    path.write_bytes(mine.encode())
    path.chmod(0o640)
    person.submit(job_of(MG_O, tmp_path))
    rows = table(tmp_path)
    assert [(row["formula"], row["by"], row["value"]) for row in rows] == [
        ("AlCu3", "Ann, Bo", "12"),
        ("FLi", "", ""),
        ("MgO", "", ""),
    ]
    assert list(rows[0]) == ["formula", "candidate", "by", "structure", "value", "unit", "std"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_row_that_got_lost_comes_back_and_a_whole_table_is_not_touched(person: Person, tmp_path: Path) -> None:
    handles = [person.submit(job_of(candidate, tmp_path)) for candidate in (LI_F, AL_CU)]
    path = tmp_path / "to_label.csv"
    before = path.stat()
    person.poll(handles)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    person.poll(handles)
    assert [row["formula"] for row in table(tmp_path)] == ["FLi", "AlCu3"]
    path.unlink()
    person.poll(handles)
    assert [row["formula"] for row in table(tmp_path)] == ["FLi", "AlCu3"]


def test_a_second_attempt_shows_its_own_structure(person: Person, tmp_path: Path) -> None:
    first = person.submit(job_of(LI_F, tmp_path))
    person.submit(job_of(LI_F, tmp_path, attempt=2))
    assert [row["structure"] for row in table(tmp_path)] == [f"jobs/{LI_F.id}-2/structure.cif"]
    assert first.endswith("-1")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"candidate;formula;structure;value;unit;std\n", "has lost its columns candidate, formula"),
        (b"candidate,value\nx,1\n", "has lost its columns formula, structure, unit, std"),
        (b"\xff\xfec\x00", "is not UTF-8 text any more"),
        (b"candidate,formula,structure,value,unit,std\na,b,c,1,2,3,4,5\n", "more cells than columns in the row of a"),
        (b'candidate,formula,structure,value,unit,std\n"a\n', "is not a table any more"),
        (None, "cannot be read or written: Is a directory"),
    ],
)
def test_a_table_that_only_people_can_repair_is_left_alone(
    content: bytes | None, complaint: str, person: Person, tmp_path: Path
) -> None:
    handle = person.submit(job_of(LI_F, tmp_path))
    path = tmp_path / "to_label.csv"
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)
    job = job_of(AL_CU, tmp_path)
    with pytest.raises(TransientSubmitError, match=complaint):
        person.submit(job)
    assert person.find(job) is None
    with pytest.raises(BackendError, match=complaint):
        person.poll([handle])
    with pytest.raises(BackendError, match=complaint):
        person.cancel([handle])
    assert content is None or path.read_bytes() == content


def test_a_job_of_another_labeler_is_refused(person: Person, tmp_path: Path) -> None:
    directory = JobDirectory(tmp_path / "jobs" / "x-1")
    job = directory.prepare(JobSpec("active_learning.testing.job_functions:echo", {}), "x", Resources(60.0))
    with pytest.raises(TransientSubmitError, match="none of labeler 'manual': people cannot be asked"):
        person.submit(job)


def test_many_hands_at_one_table_lose_no_row(tmp_path: Path) -> None:
    candidates = [Candidate({"Al": float(n), "Cu": 97.0}) for n in range(1, 25)]
    jobs = [job_of(candidate, tmp_path) for candidate in candidates]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: Person(Person.Options()).submit(job), jobs))
    assert {row["candidate"] for row in table(tmp_path)} == {candidate.id for candidate in candidates}
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == [".to_label.csv.lock", "to_label.csv"]


def test_an_origin_that_is_an_attack_is_nowhere(person: Person, tmp_path: Path) -> None:
    job = job_of(LI_F, tmp_path)
    person.submit(job)
    texts = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [text for text in texts if "calc" in text or "escaped" in text]
    assert json.loads((Path(job.directory) / "candidate.json").read_text())["id"] == LI_F.id


def test_a_campaign_asks_people_round_after_round_and_takes_answered_rows_away(tmp_path: Path) -> None:
    labeler = {"kind": "active_learning.labelers.manual:Manual", "unit": "eV"}
    submitter = {"kind": "active_learning.submitters.person.submitter:Person"}
    file = tiny_campaign(tmp_path, labeler=labeler, submitter=submitter)
    campaign = without_workers(Campaign.create(file, clock=FakeClock()))
    asked: list[str] = []
    status = campaign.tick()
    while status["phase"] == "active":
        (path,) = tmp_path.rglob("to_label.csv")
        rows = table(path.parent)
        assert len(rows) == status["n_in_flight"]
        answered = rows[:2]
        assert not {row["candidate"] for row in answered} & set(asked), "people are asked twice"
        asked += [row["candidate"] for row in answered]
        campaign.tell(Told(row["candidate"], len(asked) / 10, "eV") for row in answered)
        status = campaign.tick()
    assert status["n_labels"] == 10
    assert table(path.parent) == []
    states = {request.state for request in campaign.store.read().requests}
    assert states == {RequestState.SUCCEEDED}
