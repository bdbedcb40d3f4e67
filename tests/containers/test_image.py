"""The image: built from the lock, run as its own user, with nothing in it that does not belong there."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
from container_image import ROOT, Container, Image

CAMPAIGN = """
name = "tiny"
seed = 3
target = { property = "energy_per_atom", goal = "minimize" }
pool = { kind = "prototypes", elements = ["Cu", "Au"], max_atoms = 4 }
features = { kind = "matminer", sets = ["density"] }
surrogate = { kind = "random_forest", n_trees = 20 }
rounds = { initial = 4, batch_size = 2, max_in_flight = 2 }
labeler = { kind = "ase", calculator = "emt" }
submitter = { kind = "local" }
requests = { poll = 0.2, retries = 0 }
stopping = { any = [{ kind = "labels", max = 6 }] }
"""


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def locked() -> dict[str, set[str]]:
    """Versions of the lock by name."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.+!-]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    return found


def test_what_is_installed_is_in_the_lock_and_no_tool_of_development_is(container: Container) -> None:
    listed = json.loads(succeeded(container.run("/opt/motherlode/bin/python", "-m", "pip", "list", "--format=json")))
    installed = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in listed}
    own = {name: installed.pop(name) for name in ("motherlode", "pip", "setuptools")}
    lock = locked()
    assert {name: version for name, version in installed.items() if version not in lock.get(name, ())} == {}
    assert own["motherlode"] == succeeded(container.run("motherlode", "--version")).split()[-1]
    assert {"psycopg", "prefect", "matminer"} <= set(installed)
    assert not {"pytest", "mypy", "ruff", "hypothesis", "hatchling"} & set(installed)


def test_it_runs_as_a_user_that_is_not_root_and_can_write_in_two_places_only(container: Container) -> None:
    places = ("/", "/opt", "/opt/motherlode/bin", "/usr/local/bin", "/etc", "/home/motherlode", "/campaigns")
    script = 'id -u; id -g; for d in "$@"; do [ ! -w "$d" ] || echo "$d"; done'
    said = succeeded(container.run("sh", "-c", script, "sh", *places))
    assert said.split() == ["10001", "10001", "/home/motherlode", "/campaigns"]


def test_its_configuration_is_what_the_docs_promise(image: Image) -> None:
    found = image.configuration
    variables = image.variables
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["motherlode-entrypoint"]
    assert found["Cmd"][:3] == ["prefect", "worker", "start"]
    assert found["Healthcheck"]["Test"][0] == "CMD"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == variables["OMP_NUM_THREADS"] == variables["PYTHONUNBUFFERED"] == "1"


def test_nothing_of_this_machine_and_nothing_but_the_package_is_in_it(image: Image, container: Container) -> None:
    files = container.files
    packages = files / "opt/motherlode/lib/python3.11/site-packages"
    ours = {"active_learning", "tasks", "flows"}
    assert {path.name for path in packages.iterdir() if path.name in ours | {"tests", "benchmarks", "examples"}} == ours
    for folder in ours:
        kept = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")}
        assert {path.relative_to(packages) for path in (packages / folder).rglob("*.py")} == kept
    assert not (files / "source").exists()
    assert not list(files.glob("**/.git"))
    assert not (files / "etc/pip.conf").exists() or (files / "etc/pip.conf").stat().st_size == 0
    set_by_user = [p for p in (files / "opt").rglob("*") if not p.is_symlink() and p.stat().st_mode & stat.S_IWOTH]
    assert set_by_user == []
    settings = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    addresses = re.findall(r"(?:https?|file)://[^\s'\\]+", settings.stdout)
    said = image.history + json.dumps(image.configuration)
    assert [address for address in addresses if address in said] == []


def test_doctor_finds_nothing_in_the_way(container: Container) -> None:
    said = container.run("motherlode", "doctor").stdout
    assert "nothing stands in the way" in said
    # The extras that the image was not built with are told, and are no fault.
    assert "not installed what these need: dask (distributed)" in said


def test_the_health_check_fails_where_nothing_answers(image: Image, container: Container) -> None:
    test = image.configuration["Healthcheck"]["Test"][1:]
    done = container.run(*test, env={"MOTHERLODE_HEALTH_URL": "http://127.0.0.1:9/health"})
    assert "Connection refused" in done.stderr
    assert done.returncode != 0


@pytest.mark.slow
def test_a_campaign_runs_to_its_end_in_it(container: Container, tmp_path: Path) -> None:
    file = tmp_path / "campaign.toml"
    file.write_text(CAMPAIGN)
    file.chmod(0o644)
    script = (
        "cp /mnt/campaign.toml . && motherlode run campaign.toml --no-prefect && motherlode status campaign.toml --json"
    )
    done = container.run("sh", "-c", script, "campaign.toml", volumes={file: "/mnt/campaign.toml:ro"})
    assert '"n_labels": 6' in succeeded(done)
    report = container.files / "campaigns/tiny.campaign/report.html"
    assert report.stat().st_uid == 10001
    assert report.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("variables", "content", "words"),
    [
        ({"PGPASS_SECRET": "/run/secret", "PGPASS_LOGIN": "h:1:d:u"}, "", "/run/secret is empty"),
        ({"PGPASS_SECRET": "/run/secret"}, "pw", "host:port:database:user"),
        ({"PGPASS_SECRET": "/run/other", "PGPASS_LOGIN": "h:1:d:u"}, "pw", "/run/other cannot be read by user 10001"),
        ({"PREFECT_SECRET": "/run/secret"}, "team", "must say user:password"),
        ({"PREFECT_SECRET": "/run/secret"}, 'team:"\nPREFECT_API_URL="x', "letters, digits and"),
    ],
)
def test_a_secret_that_cannot_be_used_ends_the_start_without_being_shown(
    container: Container, tmp_path: Path, variables: dict[str, str], content: str, words: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(content)
    secret.chmod(0o444)
    done = container.run("motherlode-entrypoint", "id", env=variables, volumes={secret: "/run/secret:ro"})
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stdout == ""
    assert not content or content not in done.stderr


def test_secrets_are_put_where_programs_look_and_for_this_user_alone(container: Container, tmp_path: Path) -> None:
    password, login = tmp_path / "password", tmp_path / "login"
    password.write_text(r"a:b\c'd e$(id)" + "\n")
    login.write_text("team:s3cret\n")
    for file in (password, login):
        file.chmod(0o444)
    script = (
        'cat ~/.pgpass "$PREFECT_HOME/profiles.toml"; stat -c %a ~/.pgpass "$PREFECT_HOME/profiles.toml"; env;'
        " prefect config view --hide-sources"
    )
    done = container.run(
        *("motherlode-entrypoint", "sh", "-c", script),
        env={"PGPASS_SECRET": "/run/p", "PGPASS_LOGIN": "db:5432:d:u", "PREFECT_SECRET": "/run/l"},
        volumes={password: "/run/p:ro", login: "/run/l:ro"},
    )
    said = succeeded(done).splitlines()
    assert said[0] == r"db:5432:d:u:a\:b\\c'd e$(id)"
    assert said[1:5] == [
        'active = "container"',
        "[profiles.container]",
        'PREFECT_API_AUTH_STRING = "team:s3cret"',
        'PREFECT_SERVER_API_AUTH_STRING = "team:s3cret"',
    ]
    assert said[5:7] == ["600", "600"]
    assert not any("s3cret" in line or "a:b" in line for line in said[7:])
    assert sum("AUTH_STRING='********'" in line for line in said[7:]) == 2
