"""`motherlode replay` and `export FILE bundle` on a real campaign: matminer, a forest, EMT relaxes, asynchronous."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ase.io import read
from postgresql_server import running_postgresql, what_is_missing

from active_learning.api.campaign import Campaign
from active_learning.testing.fakes import FakeClock, tiny_campaign, without_workers

_CHANGES: dict[str, Any] = {
    "pool": {"kind": "prototypes", "elements": ["Cu", "Au"], "n_elements": [2], "max_atoms": 4},
    "features": {"kind": "matminer", "sets": ["magpie", "density"]},
    "surrogate": {"kind": "random_forest", "n_trees": 20, "n_jobs": 1},
    "rounds": {"initial": 4, "batch_size": 2, "max_in_flight": 4},
    "control": {"fraction": 0.2},
    "labeler": {
        "kind": "ase",
        "calculator": "adversary:MoodyEMT",
        "calculator_options": {"moods": {}},
        "relax": "cell",
    },
    "stopping": {"any": [{"kind": "labels", "max": 10}]},
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, motherlode: Any, write_campaign: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("ended")
    path: Path = write_campaign(folder, **_CHANGES)
    end = motherlode("run", path, "--no-prefect", cwd=folder, seconds=600.0)
    assert end.status == 0, end.err
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, motherlode: Any, ended: Path) -> Path:
    folder: Path = tmp_path_factory.mktemp("bundle")
    end = motherlode("export", ended, "bundle", "--jobs", cwd=folder, seconds=300.0)
    assert end.status == 0, end.err
    assert re.search(r"tiny\.zip: \d+ files\n$", end.out)
    return folder / "tiny.zip"


def _n_rounds(path: Path) -> int:
    with closing(sqlite3.connect(path.parent / "tiny.campaign" / "campaign.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM rounds").fetchone()[0])


def test_replay_says_of_each_round_that_it_is_the_same(motherlode: Any, ended: Path) -> None:
    end = motherlode("replay", ended, cwd=ended.parent, seconds=300.0)
    assert end.status == 0, end.out + end.err
    assert end.err == ""
    rounds = re.findall(r"^ +round (\d+)  same +\d+ labels? known, \d+ requests? in flight; ", end.out, re.MULTILINE)
    assert [int(number) for number in rounds] == list(range(_n_rounds(ended)))
    assert "requests in flight" in end.out
    assert "note: your own code (adversary.py) is taken as it is now" in end.out
    assert end.out.endswith(f"tiny: {len(rounds)} rounds computed again, and every decision is the same\n")
    assert "last digits" not in end.out


def test_replay_for_programs_is_one_object(motherlode: Any, ended: Path) -> None:
    end = motherlode("replay", ended, "--json", cwd=ended.parent, seconds=300.0)
    assert end.status == 0, end.err
    told = json.loads(end.out)
    assert (told["name"], told["is_same"], told["versions"]) == ("tiny", True, [])
    assert {"step", "outcome", "said", "differences", "n_labels", "in_flight", "rounding"} == told["steps"][0].keys()
    assert any(step["in_flight"] for step in told["steps"]), "it opened rounds while requests were in flight"


def test_replay_of_a_campaign_with_another_pick_ends_with_1_and_names_it(
    motherlode: Any, ended: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(ended.parent, tmp_path / "copy")) / ended.name
    with closing(sqlite3.connect(path.parent / "tiny.campaign" / "campaign.db")) as connection:
        connection.execute("UPDATE requests SET std = std * 2 WHERE round = 1 AND arm = 'chosen'")
        connection.commit()
    end = motherlode("replay", path, cwd=tmp_path, seconds=300.0)
    assert end.status == 1
    assert re.search(r"^ +round 1  DIFFERS", end.out, re.MULTILINE)
    assert re.search(r"^ +- pick \S+ \([0-9a-f]+\)\.std: stored [\d.]+, computed [\d.]+$", end.out, re.MULTILINE)
    assert end.out.endswith("tiny: differs: round 1\n")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("replay", "nosuch.toml"), "No campaign file at nosuch.toml"),
        (("replay", "campaign.toml"), "has not started"),
        (("export", "campaign.toml", "bundle"), "has not started"),
    ],
)
def test_what_cannot_be_replayed_or_packed_is_the_users_error(
    argv: tuple[str, ...], said: str, motherlode: Any, tmp_path: Path, write_campaign: Any
) -> None:
    write_campaign(tmp_path)
    end = motherlode(*argv, cwd=tmp_path)
    assert end.status == 2
    assert said in end.err
    assert "Traceback" not in end.err


def test_wrong_words_to_export_are_the_users_error(motherlode: Any, ended: Path, tmp_path: Path) -> None:
    end = motherlode("export", ended, "labels", "--jobs", cwd=tmp_path)
    assert (end.status, "--jobs goes with 'bundle'" in end.err) == (2, True)
    end = motherlode("export", ended, "bundle", "--output", "x.tar", cwd=tmp_path)
    assert (end.status, "does not end with .zip" in end.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_place_opens_the_bundle_when_the_original_is_gone(
    motherlode: Any, ended: Path, bundle: Path, tmp_path: Path
) -> None:
    hidden = ended.parent.with_name("hidden")
    ended.parent.rename(hidden)
    try:
        with zipfile.ZipFile(bundle) as opened:
            opened.extractall(tmp_path)
        here = tmp_path / "tiny"
        listed = dict(reversed(line.split("  ")) for line in (here / "SHA256SUMS").read_text().splitlines())
        assert {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in listed} == listed
        status = motherlode("status", "campaign.toml", cwd=here)
        assert (status.status, "10 of " in status.out) == (0, True), status.err
        report = motherlode("report", "campaign.toml", "--output", tmp_path / "r.html", cwd=here, seconds=300.0)
        assert report.status == 0, report.err
        replayed = motherlode("replay", "campaign.toml", cwd=here, seconds=300.0)
        assert replayed.status == 0, replayed.out + replayed.err
        assert "every decision is the same" in replayed.out
        readme = (here / "README.txt").read_text()
        assert "motherlode replay campaign.toml" in readme
        assert "adversary.py" in readme
    finally:
        hidden.rename(ended.parent)


def test_packing_again_gives_the_same_bytes(motherlode: Any, ended: Path, bundle: Path, tmp_path: Path) -> None:
    end = motherlode("export", ended, "bundle", "--jobs", "--output", "a/b.zip", cwd=tmp_path, seconds=300.0)
    assert end.status == 0, end.err
    assert (tmp_path / "a" / "b.zip").read_bytes() == bundle.read_bytes()


def test_the_bundle_holds_labels_and_structures_as_candidates_and_as_relaxed(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as opened:
        opened.extractall(tmp_path)
    here = tmp_path / "tiny"
    labels = json.loads((here / "tables" / "labels.json").read_text())
    values = {x["candidate"]: x["value"] for x in labels if x["property"] == "energy_per_atom"}
    assert len(values) == 10
    before = {frame.info["candidate"]: frame for frame in read(here / "structures" / "candidates.extxyz", ":")}
    after = {frame.info["candidate"]: frame for frame in read(here / "structures" / "relaxed.extxyz", ":")}
    assert before.keys() == after.keys() == values.keys()
    for candidate, frame in after.items():
        assert frame.info["value"] == pytest.approx(values[candidate], rel=1e-7)
        assert frame.get_chemical_formula() == before[candidate].get_chemical_formula()
    assert any(abs(after[c].get_volume() / before[c].get_volume() - 1) > 1e-3 for c in before), "the cells were relaxed"
    assert list((here / "tiny.campaign" / "jobs").glob("*/result.json"))


@pytest.mark.skipif(what_is_missing() is not None, reason=str(what_is_missing()))
def test_a_campaign_in_postgresql_becomes_a_bundle_with_sqlite_and_without_its_password(
    tmp_path: Path, motherlode: Any
) -> None:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, running_postgresql(Path(folder)) as server:
        # As nobody should write it.
        store = server.url.replace("@", f":{server.password}@")
        for name in ("other", "tiny"):
            path = tiny_campaign(tmp_path / name, name=name, store=store)
            with without_workers(Campaign.create(path, clock=FakeClock())) as campaign:
                campaign.run()
        replayed = motherlode("replay", path, cwd=tmp_path)
        assert replayed.status == 0, replayed.out + replayed.err
        end = motherlode("export", path, "bundle", "--jobs", cwd=tmp_path)
        assert end.status == 0, end.err
        assert "replaced in the copy of the campaign file: store" in end.out
        assert server.password not in end.out + end.err
    with zipfile.ZipFile(tmp_path / "tiny.zip") as opened:
        telling = [name for name in opened.namelist() if server.password.encode() in opened.read(name)]
        opened.extractall(tmp_path / "there")
    assert telling == []
    there = motherlode("replay", "tiny.toml", cwd=tmp_path / "there" / "tiny")
    assert there.status == 0, there.out + there.err


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("flows.cli.replay", "prefect pymatgen matminer ase modAL matplotlib alembic"),
        ("flows.cli.export", "prefect pymatgen matminer ase modAL matplotlib alembic"),
    ],
)
def test_the_commands_load_only_what_they_need(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(forbidden.split()), sorted(loaded & set(forbidden.split()))
