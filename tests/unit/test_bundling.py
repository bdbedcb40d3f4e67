"""A campaign packed for others: whole, the same each time, without secrets, and no more than its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
import tomllib
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_learning.api.campaign import Campaign
from active_learning.api.provenance.archive import write_archive
from active_learning.api.provenance.bundling import bundle
from active_learning.api.provenance.own_files import named_files, own_modules
from active_learning.api.provenance.publishing import public_tables, public_text
from active_learning.api.provenance.replaying import replay
from active_learning.api.provenance.steps import Outcome
from active_learning.api.provenance.store_copy import copy_store
from active_learning.api.record import CampaignRecord
from active_learning.errors import ContractError, StoreError, UserError
from active_learning.store import CampaignStore
from active_learning.store.database import connect, upgrade
from active_learning.store.schema import HEAD
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers

GOLDEN = Path(__file__).parents[1] / "golden"
PASSWORD = "hunter2-x9"


def _no_views(_record: CampaignRecord, folder: Path) -> None:
    (folder / "report.html").write_text("<p>a report</p>")


def _ran(folder: Path, **changes: Any) -> Path:
    path = tiny_campaign(folder, **changes)
    with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
        campaign.run()
    return path


def _packed(path: Path, output: Path, **more: Any) -> Any:
    with Campaign.open(path) as campaign:
        return bundle(campaign, output, _no_views, **more)


def _names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _ran(tmp_path_factory.mktemp("ended"))


@pytest.fixture(scope="module")
def packed(ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packed") / "tiny.zip"
    _packed(ended, output)
    return output


def test_the_same_campaign_gives_the_same_bytes(ended: Path, packed: Path, tmp_path: Path) -> None:
    _packed(ended, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_names_are_sorted_dates_fixed_modes_plain_and_all_in_one_folder(packed: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        entries = opened.infolist()
    names = [entry.filename for entry in entries]
    assert names[:-1] == sorted(names[:-1])
    assert names[-1] == "tiny/SHA256SUMS"
    assert all(name.startswith("tiny/") and ".." not in name for name in names)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}


def test_every_file_has_its_hash(packed: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        listed = dict(reversed(line.split("  ")) for line in opened.read("tiny/SHA256SUMS").decode().splitlines())
        found = {name: hashlib.sha256(opened.read(f"tiny/{name}")).hexdigest() for name in listed}
        assert found == listed
        assert {f"tiny/{name}" for name in listed} | {"tiny/SHA256SUMS"} == set(opened.namelist())


def test_it_holds_file_store_pool_descriptors_predictions_history_and_versions(ended: Path, packed: Path) -> None:
    with Campaign.open(ended) as campaign:
        facts, events = campaign.store.read(), campaign.store.events()
    names = set(_names(packed))
    files = {f"tiny/tiny.campaign/files/{record.predictions}" for record in facts.rounds if record.predictions}
    assert facts.pool is not None
    assert facts.features is not None
    files |= {f"tiny/tiny.campaign/files/{facts.pool['file']}", f"tiny/tiny.campaign/files/{facts.features['file']}"}
    assert files | {"tiny/tiny.toml", "tiny/tiny.campaign/campaign.db", "tiny/README.txt", "tiny/report.html"} <= names
    with zipfile.ZipFile(packed) as opened:
        lines = opened.read("tiny/tables/events.jsonl").decode().splitlines()
        assert [json.loads(line)["number"] for line in lines] == [event.number for event in events]
        versions = json.loads(opened.read("tiny/versions.json"))
        assert versions["campaign"][0]["versions"] == dict(facts.versions)
        assert "numpy" in versions["packed_with"]["packages"]
        assert opened.read("tiny/tiny.toml") == ended.read_bytes(), "a file without secrets is copied as it is"
        readme = opened.read("tiny/README.txt").decode()
    assert "motherlode replay tiny.toml" in readme
    assert "Not here: the directories of the jobs" in readme


def test_job_directories_come_along_if_asked_but_no_links(tmp_path: Path) -> None:
    path = _ran(tmp_path / "a")
    root = tmp_path / "a" / "tiny.campaign" / "jobs"
    first = sorted(root.iterdir())[0]
    (first / "link").symlink_to("/etc/hostname")
    (root / "a-stranger-1").mkdir()
    (root / "a-stranger-1" / "notes").write_text("of another campaign")
    _packed(path, tmp_path / "jobs.zip", jobs=True)
    names = _names(tmp_path / "jobs.zip")
    assert f"tiny/tiny.campaign/jobs/{first.name}/result.json" in names
    assert not [name for name in names if name.endswith("/link") or "stranger" in name]


def test_another_folder_opens_it_with_the_original_gone(tmp_path: Path) -> None:
    path = _ran(tmp_path / "original", workdir=str(tmp_path / "original" / "far" / "away"))
    told = _packed(path, tmp_path / "b.zip")
    assert told.replaced == ("workdir",)
    shutil.rmtree(tmp_path / "original")
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        opened.extractall(tmp_path / "there")
    file = tmp_path / "there" / "tiny" / "tiny.toml"
    before = (file.parent / "tiny.campaign" / "campaign.db").read_bytes()
    with replay(file) as past:
        assert {step.name: step.said for step in past.steps() if step.outcome is not Outcome.SAME} == {}
    with Campaign.open(file) as campaign:
        assert campaign.status()["n_labels"] == 10
        assert len(campaign.record().candidate_ids) == 30
        assert campaign.refuse_fixed_changes() == {}, "it may even go on there"
    assert (file.parent / "tiny.campaign" / "campaign.db").read_bytes() == before, "looking at it changes nothing"
    assert str(tmp_path) not in before.decode("latin-1")


def test_a_campaign_that_has_only_begun_can_be_packed(tmp_path: Path) -> None:
    path = tiny_campaign(tmp_path)
    Campaign.create(path, clock=FakeClock()).close()
    _packed(path, tmp_path / "b.zip")
    assert "tiny/tiny.campaign/campaign.db" in _names(tmp_path / "b.zip")


def test_a_missing_file_of_the_campaign_is_named(tmp_path: Path) -> None:
    path = _ran(tmp_path)
    next((tmp_path / "tiny.campaign" / "files").glob("features-ids-*")).unlink()
    with pytest.raises(StoreError, match=r"features-ids-\w+\.npy is missing"):
        _packed(path, tmp_path / "b.zip")
    assert not list(tmp_path.glob("*.zip")), "whole or not at all"


def test_secrets_of_the_file_are_in_no_file_of_the_bundle(tmp_path: Path) -> None:
    """Not in a label's provenance either; where they stand in a job's file, that is not packed."""
    labeler = {"kind": "learning_secrets:Labeler", "api_token": PASSWORD, "lines": ["module load x"]}
    (tmp_path / "learning_secrets.py").write_text(
        "from dataclasses import replace\n"
        "from active_learning.testing.fakes import FakeLabeler\n"
        "class Labeler(FakeLabeler):\n"
        "    class Options(FakeLabeler.Options):\n"
        "        api_token: str\n"
        "        lines: tuple[str, ...]\n"
        "    def prepare(self, candidate):\n"
        "        job = super().prepare(candidate)\n"
        "        return replace(job, inputs={**job.inputs, 'token': self.options.api_token})\n"
        "    def parse(self, job_dir):\n"
        "        return replace(super().parse(job_dir), provenance={'by': [self.options.api_token]})\n"
    )
    path = _ran(tmp_path, labeler=labeler)
    with pytest.raises(UserError, match=r"jobs/.*job\.json holds a secret of tiny\.toml, so that nothing was packed"):
        _packed(path, tmp_path / "b.zip", jobs=True)
    assert not list(tmp_path.glob("*.zip"))
    told = _packed(path, tmp_path / "b.zip")
    assert told.replaced == ("labeler.api_token",)
    with zipfile.ZipFile(tmp_path / "b.zip") as opened:
        assert not [name for name in opened.namelist() if PASSWORD.encode() in opened.read(name)]
        assert "tiny/learning_secrets.py" in opened.namelist()
        opened.extractall(tmp_path / "there")
    with Campaign.open(tmp_path / "there" / "tiny" / "tiny.toml") as campaign:
        assert campaign.refuse_fixed_changes() == {}, "file and store agree still"
        assert {tuple(x.provenance["by"]) for x in campaign.store.read().labels} == {("removed",)}
    with replay(tmp_path / "there" / "tiny" / "tiny.toml") as past:
        assert [step.said for step in past.steps() if step.outcome is not Outcome.SAME] == []


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        (f'store = "postgresql+psycopg://me:{PASSWORD}@host/db"', {"store": "sqlite"}),
        ('store = "sqlite"', {"store": "sqlite"}),
        ('name = "n"\nworkdir = "/scratch/me"', {"name": "n", "workdir": "n.campaign"}),
        ('name = "n"\nworkdir = "../me"', {"name": "n", "workdir": "n.campaign"}),
        ('workdir = "runs/me"', {"workdir": "runs/me"}),
        (f"[a]\npassword = '{PASSWORD}'", {"a": {"password": "removed"}}),
        (f'[a]\nenvironment = [\n  "module load x",\n  "export X_TOKEN={PASSWORD} Y=1",\n]',
         {"a": {"environment": ["module load x", "export X_TOKEN=removed Y=1"]}}),
        (f'[a]\nenvironment = {{VASP_SECRET = "{PASSWORD}", N = "1"}}',
         {"a": {"environment": {"VASP_SECRET": "removed", "N": "1"}}}),
        (f'[pool]\nurl = "https://me:{PASSWORD}@host/x"', {"pool": {"url": "https://me:removed@host/x"}}),
        ('[pool]\nkey_env = "MP_API_KEY"\nn_tokens = 3', {"pool": {"key_env": "MP_API_KEY", "n_tokens": 3}}),
        ('[pool]\ntoken_env = "MP_TOKEN"\nurl = "https://host:80/a"',
         {"pool": {"token_env": "MP_TOKEN", "url": "https://host:80/a"}}),
        (f'[pool]\nurl = "https://me:c/r@{PASSWORD}@host/x"', {"pool": {"url": "https://me:removed@host/x"}}),
    ],
)  # fmt: skip
def test_what_is_replaced_in_a_campaign_file(given_text: str, expected: Any) -> None:
    text, changed = public_text(given_text)
    assert tomllib.loads(text) == expected
    assert bool(changed) == (tomllib.loads(given_text) != expected)
    assert PASSWORD not in text
    assert public_text(text) == (text, ()), "what was replaced is fit to be published"


def test_all_but_what_is_replaced_stays_letter_by_letter() -> None:
    text = f'# mine\nseed   = 7 # lucky\n[a]  # "{PASSWORD}" is not said here twice\ntoken = "{PASSWORD}" # !\n'
    found, _ = public_text(text.replace(f'"{PASSWORD}" is', "it is"))
    assert found == text.replace(f'"{PASSWORD}" is', "it is").replace(PASSWORD, "removed")


def test_a_secret_that_cannot_be_replaced_is_refused() -> None:
    with pytest.raises(UserError, match=r"a\.password must not be published .* on one line"):
        public_text(f'[a]\npassword = """\n{PASSWORD}\n"""\n')


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12))
def test_any_secret_is_replaced_or_refused(secret: str) -> None:
    text = f"[a]\npassword = {json.dumps(secret, ensure_ascii=False)}\n"
    try:
        found, _ = public_text(text)
    except UserError:
        return
    assert tomllib.loads(found) == {"a": {"password": "removed"}} == public_tables(tomllib.loads(text))


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_own_modules_come_with_what_they_import_and_packages_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import numpy, helper\nfrom deep.er import x\n")
    (tmp_path / "helper.py").write_text("import mine\n")
    (tmp_path / "stranger.py").write_text("")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "__init__.py").write_text("this is no Python")
    (tmp_path / "deep" / "data.txt").write_text("1")
    (tmp_path / "deep" / "__pycache__").mkdir()
    (tmp_path / "deep" / "__pycache__" / "x.pyc").write_text("")
    tables = {"surrogate": {"kind": "mine:Model"}, "features": {"sets": ["magpie", {"name": "nosuch.Thing"}]}}
    found = [path.relative_to(tmp_path).as_posix() for path in own_modules(tables, tmp_path)]
    assert found == ["deep/__init__.py", "deep/data.txt", "helper.py", "mine.py"]
    assert own_modules({"surrogate": {"kind": "random_forest"}}, tmp_path) == ()


def test_files_that_the_tables_name_come_along_unless_they_are_not_for_others(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "cifs").mkdir(parents=True)
    for name in ("known.csv", "run.sh", "id.pem", "unnamed.csv"):
        (home / name).write_text(name)
    (tmp_path / "elsewhere.csv").write_text("")
    (home / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    tables = {
        "pool": {"path": "cifs/", "known": "known.csv", "other": "../elsewhere.csv", "linked": "link.csv"},
        "labeler": {"command": ["./run.sh", "{structure}"], "long": "x/" * 3000, "zero": "a\0.b", "tilde": "~nobody/x"},
        "submitter": {"identity_file": "id.pem", "word": "cifs"},
    }
    inside, left_out = named_files(tables, home)
    assert [path.name for path in inside] == ["known.csv", "run.sh"]
    assert left_out == (
        "pool.path: a folder",
        "pool.other: it lies elsewhere",
        "pool.linked: it lies elsewhere",
        "submitter.identity_file: its key says that it is not for others",
    )


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../../b", "", "SHA256SUMS"])
def test_a_name_that_leads_out_of_the_archive_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ContractError, match="is no name for a file of an archive"):
        write_archive(tmp_path / "a.zip", "root", {name: tmp_path / "x"})


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\x1b[31m"])
def test_a_name_that_is_not_the_same_everywhere_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(UserError, match="cannot be packed"):
        write_archive(tmp_path / "a.zip", "root", {name: tmp_path / "x"})


def test_a_bundle_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(UserError, match=r"The bundle .*x/a\.zip cannot be written"):
        write_archive(tmp_path / "x" / "a.zip", "root", {"x": tmp_path / "x"})


def test_a_copy_of_the_store_holds_one_campaign_and_neither_lease_nor_what_was_deleted(tmp_path: Path) -> None:
    first = _ran(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Campaign.open(first) as campaign:
        url = campaign.store.url
        taken = campaign.store.read().labels[0]
        campaign.retract(taken.candidate_id, reason="wrong")
    other = CampaignStore(url, "other")
    other.create({"name": "other", "note": "for nobody else's eyes"}, FakeClock().now())
    other.close()
    copy_store(url, "tiny", tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copied:
        assert copied.execute("SELECT name FROM campaigns").fetchall() == [("tiny",)]
        assert copied.execute("SELECT count(*) FROM leases").fetchall() == [(0,)]
    assert b"nobody else's" not in (tmp_path / "copy.db").read_bytes()
    with closing(CampaignStore(f"sqlite:///{tmp_path / 'copy.db'}", "tiny")) as copied_store:
        mine = copied_store.read(), copied_store.events()
    with closing(CampaignStore(url, "tiny")) as store:
        assert (store.read(), store.events()) == mine
    with pytest.raises(StoreError, match="There is no campaign 'nosuch'"):
        copy_store(url, "nosuch", tmp_path / "none.db")


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.db")), ids=lambda path: path.stem)
def test_a_store_of_every_released_version_can_be_copied_and_stays_as_it_is(golden: Path, tmp_path: Path) -> None:
    old = Path(shutil.copy(golden, tmp_path / "old.db"))
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    before = old.read_bytes()
    copy_store(f"sqlite:///{old}", "tiny", tmp_path / "new.db")
    assert old.read_bytes() == before
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
    with closing(CampaignStore(f"sqlite:///{tmp_path / 'new.db'}", "tiny")) as new:
        facts, events = new.read(), new.events()
    assert len(facts.labels) == 10
    assert revision <= (HEAD,)
    upgrade(connect(f"sqlite:///{old}"))
    with closing(CampaignStore(f"sqlite:///{old}", "tiny")) as store:
        assert (store.read(), store.events()) == (facts, events)


def test_a_store_of_a_newer_version_is_refused(ended: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copy(ended.parent / "tiny.campaign" / "campaign.db", tmp_path / "newer.db"))
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match="written by a newer Motherlode"):
        copy_store(f"sqlite:///{newer}", "tiny", tmp_path / "new.db")
