"""Fifty campaigns on one machine, ticked at the same moments: what becomes of the ticks, the labels and the databases.

    python benchmarks/fifty_campaigns.py                # SQLite, then PostgreSQL; about an hour on two cores
    python benchmarks/fifty_campaigns.py --store sqlite --campaigns 4 --ticks 6

Two ways, each with new campaigns and an hour's worth of ticks, one a minute, with the minute made shorter:

- `scheduled`: a real Prefect server and one worker. All campaigns are deployed with one cron, so that all are due at
  the same moments. A tick that comes too late to begin is left to a later one, as the docs say.
- `ticked`: without Prefect, by some processes at once, which open a campaign anew for each tick. None is left out.

Every store is SQLite, and Prefect's own as well; or all are on one PostgreSQL, a real one, started for this
(tests/helpers/postgresql_server.py). Meanwhile somebody looks once a second: at one campaign's status, and at what the
pages of Prefect's UI ask for. All that is written and said is searched for complaints of databases. Labels are
relaxations with EMT in detached jobs; the campaigns must choose and find the same both ways. Writes
benchmarks/results/fifty_campaigns.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from measuring import versions
from watching import Looking, Memory, all_runs, asked, complaints, logs_below, meanwhile, said_in_prefect, spread

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "fifty_campaigns.json"
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from postgresql_server import running_postgresql  # noqa: E402

from active_learning.api.campaign import Campaign  # noqa: E402
from active_learning.api.status import open_store, read_status  # noqa: E402
from active_learning.errors import LeaseHeld, MotherlodeError, StoreError, UserError  # noqa: E402
from flows.server import prefect_server, stop_kept  # noqa: E402

STORES = ("sqlite", "postgresql")
N_LABELS = 12
_LEFT = "left to a later one"
_WELL = ("completed", "skipped", _LEFT)
PATIENCE_S = 2 * 3600.0
_METALS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")
_FILE = """\
name = "{name}"
seed = {seed}
store = "{store}"
target = {{ property = "energy_per_atom", goal = "minimize" }}
pool = {{ kind = "prototypes", elements = {elements}, n_elements = [2], max_atoms = 4 }}
features = {{ kind = "matminer", sets = ["magpie", "density"] }}
surrogate = {{ kind = "extra_trees", n_trees = 50 }}
rounds = {{ initial = 4, batch_size = 4, max_in_flight = 4 }}
labeler = {{ kind = "ase", calculator = "emt", relax = "cell" }}
submitter = {{ kind = "local", workers = 2 }}
requests = {{ poll = 0.5, retries = 1, timeout = "20 min" }}
stopping = {{ any = [{{ kind = "labels", max = {n_labels} }}] }}
"""

Json = dict[str, Any]


def _write_campaigns(folder: Path, n: int, store: str) -> dict[str, Path]:
    """Name -> file of campaigns with seeds of their own and, up to 21 of them, other metals."""
    pairs = itertools.cycle(itertools.combinations(_METALS, 2))
    made = {}
    for seed, elements in zip(range(n), pairs, strict=False):
        name = f"{folder.name}-{seed:02d}"
        path = folder / f"{seed:02d}" / "campaign.toml"
        path.parent.mkdir(parents=True)
        table = {"seed": seed, "store": store, "elements": json.dumps(elements), "n_labels": N_LABELS}
        path.write_text(_FILE.format(name=name, **table))
        made[name] = path
    return made


def _scheduled(folder: Path, store: str, arguments: argparse.Namespace) -> Json:
    """All campaigns deployed with one cron, and one worker."""
    campaigns = _write_campaigns(folder, arguments.campaigns, store)
    with prefect_server(keep=True) as server:
        # Prefect reads its settings when it is imported, so it comes after the server's address is set.
        from flows import deploying

        begin = time.monotonic()
        cron = f"* * * * * */{arguments.every}"  # the sixth field is of seconds
        made = [deploying.deploy(path, name, cron=cron)[0] for name, path in campaigns.items()]
        deploying_s = time.monotonic() - begin
        limit = ["--limit", str(arguments.limit)] if arguments.limit else []
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", deploying.POOL, *limit]
        looking, memory, begin = Looking([*campaigns.values()], server.api), Memory(), time.monotonic()
        with _worker(folder / "worker.log", command), meanwhile(looking.look), meanwhile(memory.look):
            runs = _window(server.api, [str(one.id) for one in made], arguments)
            _until(lambda: all(_stands(path).get("phase") == "stopped" for path in campaigns.values()), "the end")
        wall_s = time.monotonic() - begin
        said = said_in_prefect(server.api)
    stop_kept()
    return {
        "every_s": arguments.every,
        "limit": arguments.limit or None,
        "deploying_s": round(deploying_s, 1),
        "wall_s": round(wall_s, 1),
        "ticks_due": len(campaigns) * arguments.ticks,
        **_fates(runs),
        **_outcome(campaigns),
        "looks": looking.to_json(),
        "memory": memory.to_json(),
        "complaints_to_users": complaints([*said, *looking.troubles, *_told_by(campaigns)]),
        "complaints_in_logs": complaints(logs_below(folder.parent)),
    }


@contextmanager
def _worker(log: Path, command: Sequence[str]) -> Iterator[None]:
    """A worker of the pool, as the docs start it, with the console that a user has."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_LOGGING")}
    with log.open("wb") as output:
        process = psutil.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        family = [process, *process.children(recursive=True)]
        process.terminate()
        for one in psutil.wait_procs(family, timeout=60)[1]:
            one.kill()
        process.wait()


def _window(api: str, deployments: Sequence[str], arguments: argparse.Namespace) -> list[Json]:
    """All ticks that are due from now on, for as long as is asked, once none of them is still to run."""
    first = (int(time.time()) // arguments.every + 1) * arguments.every
    last = first + arguments.every * (arguments.ticks - 1)
    after, before = (datetime.fromtimestamp(moment, UTC).isoformat() for moment in (first - 0.5, last + 0.5))
    due = {"expected_start_time": {"after_": after, "before_": before}}
    is_open = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}}
    whose = {"id": {"any_": list(deployments)}}
    time.sleep(max(0.0, last - time.time()))
    _until(lambda: asked(api, "flow_runs/count", deployments=whose, flow_runs=due | is_open) == 0, "the ticks")
    return list(all_runs(api, deployments=whose, flow_runs=due))


def _until(is_so: Callable[[], bool], what: str) -> None:
    """Wait; an overloaded server says 503, and is asked again."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        try:
            if is_so():
                return
        except urllib.error.HTTPError as error:
            print(f"{what}: {error}", flush=True)
        time.sleep(5)
    raise SystemExit(f"waited {PATIENCE_S:g} s for {what}")


def _fates(runs: Sequence[Json]) -> Json:
    """What became of ticks that were due; how late they began, how long they took, and how long a campaign had none."""
    ran = [run for run in runs if _fate(run) in _WELL[:2]]
    starts = defaultdict(list)
    for run in ran:
        starts[run["deployment_id"]].append(datetime.fromisoformat(run["start_time"]))
    pauses = [(b - a).total_seconds() for times in starts.values() for a, b in pairwise(sorted(times))]
    late = [
        (datetime.fromisoformat(run["start_time"]) - datetime.fromisoformat(run["expected_start_time"])).total_seconds()
        for run in ran
    ]
    return {
        "ticks": dict(sorted(Counter(map(_fate, runs)).items())),
        "what_went_wrong": dict(Counter(str(run["state"]["message"])[:200] for run in runs if _fate(run) not in _WELL)),
        "late_s": spread(late),
        "took_s": spread([run["total_run_time"] for run in ran]),
        "between_ticks_s": spread(pauses),
        "fewest_ticks_of_a_campaign": min(map(len, starts.values()), default=0),
    }


def _fate(run: Json) -> str:
    name, message = str(run["state_name"]).lower(), str(run["state"]["message"] or "")
    return _LEFT if name == "cancelled" and message.startswith("missed") else name


@dataclass(frozen=True)
class _Ticked:
    """One tick without Prefect."""

    seconds: float
    fate: str
    said: str = ""


def _tick(path: Path) -> _Ticked:
    begin = time.perf_counter()
    fate, said = "completed", ""
    try:
        with Campaign.create(path) as campaign:
            campaign.tick()
    except LeaseHeld:
        fate = "skipped"
    except MotherlodeError as error:
        fate, said = "failed", f"{type(error).__name__}: {error}"
    return _Ticked(time.perf_counter() - begin, fate, said)


def _ticked(folder: Path, store: str, arguments: argparse.Namespace) -> Json:
    """Every campaign's tick again and again, by a few processes."""
    campaigns = _write_campaigns(folder, arguments.campaigns, store)
    paths = list(campaigns.values())
    looking, begin = Looking(paths, None), time.monotonic()
    done: list[_Ticked] = []
    late = []
    with (
        ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as crew,
        meanwhile(looking.look),
    ):
        for number in range(arguments.ticks):
            due = begin + number * arguments.every
            time.sleep(max(0.0, due - time.monotonic()))
            late.append(time.monotonic() - due)
            done += crew.map(_tick, paths)
    return {
        "every_s": arguments.every,
        "processes": arguments.processes,
        "wall_s": round(time.monotonic() - begin, 1),
        "ticks_due": len(paths) * arguments.ticks,
        "ticks": dict(sorted(Counter(one.fate for one in done).items())),
        "what_went_wrong": dict(Counter(one.said[:200] for one in done if one.said)),
        "late_s": spread(late),
        "took_s": spread([one.seconds for one in done]),
        **_outcome(campaigns),
        "looks": looking.to_json(),
        "complaints_to_users": complaints([*(one.said for one in done), *looking.troubles, *_told_by(campaigns)]),
        "complaints_in_logs": complaints(logs_below(folder)),
    }


def _stands(path: Path) -> Json:
    """The status; nothing before the campaign is made."""
    try:
        return read_status(path, datetime.now(UTC))
    except (UserError, StoreError):
        return {}


def _outcome(campaigns: Mapping[str, Path]) -> Json:
    """Whether the campaigns came to their end, with all labels."""
    standing = [read_status(path, datetime.now(UTC)) for path in campaigns.values()]
    return {
        "campaigns": len(campaigns),
        "stopped": sum(one["phase"] == "stopped" for one in standing),
        "labels_expected": N_LABELS * len(campaigns),
        "labels": sum(one["n_labels"] for one in standing),
        "failed_calculations": sum(one["n_failed"] for one in standing),
    }


def _told_by(campaigns: Mapping[str, Path]) -> Iterator[str]:
    """All events of the campaigns, which their reports show."""
    for path in campaigns.values():
        store = open_store(path)
        yield from (json.dumps(event.data, default=str) for event in store.events())
        store.close()


def _labels(folder: Path, n: int) -> list[list[tuple[str, float]]]:
    """What each campaign found, by its number."""
    found = []
    for number in range(n):
        store = open_store(folder / f"{number:02d}" / "campaign.toml")
        found.append(sorted((label.candidate_id, round(label.value, 9)) for label in store.read().labels))
        store.close()
    return found


@contextmanager
def _stores(store: str) -> Iterator[tuple[str, Callable[[], Json]]]:
    """What campaign files say of the store, and the complaints in the database server's own log, if there is one."""
    if store == "sqlite":
        yield "sqlite", dict
        return
    # A short path, for PostgreSQL's socket.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, running_postgresql(Path(folder)) as server:
        os.environ.update(server.environment)
        server.run("createdb", "--host", folder, "--port", str(server.port), "--username", "postgres", "prefect")
        prefect = server.url.replace("+psycopg", "+asyncpg").removesuffix("/postgres") + "/prefect"
        os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = prefect
        yield server.url, lambda: complaints(logs_below(Path(folder)))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="fifty-") as place:
        yield Path(place)


def _measured(arguments: argparse.Namespace) -> Json:
    """Both ways with one kind of store."""
    found: Json = {}
    with _folder(arguments.keep) as folder, _stores(arguments.store) as (store, database_log):
        os.environ |= {"MOTHERLODE_HOME": str(folder / "home"), "PREFECT_HOME": str(folder / "none")}
        os.environ["PREFECT_API_URL"] = ""  # a server of its own, whatever the user has
        for way, measure in {"ticked": _ticked, "scheduled": _scheduled}.items():
            if way in arguments.ways:
                found[way] = measure(folder / way, store, arguments)
                print(f"{arguments.store}, {way}: {json.dumps(found[way])}", flush=True)
        if len(found) == 2:
            both = [_labels(folder / way, arguments.campaigns) for way in found]
            found["same_labels_both_ways"] = both[0] == both[1]
        found["complaints_in_the_log_of_the_database"] = database_log()
    return found


def main() -> None:
    """Measure with one kind of store, or with each in a process of its own: Prefect reads its settings once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", choices=STORES)
    parser.add_argument("--ways", nargs="+", choices=("ticked", "scheduled"), default=("ticked", "scheduled"))
    parser.add_argument("--campaigns", type=int, default=50)
    parser.add_argument("--ticks", type=int, default=60, help="of each campaign")
    parser.add_argument("--every", type=int, default=10, help="seconds, a divisor of 60: the minute made shorter")
    parser.add_argument("--limit", type=int, default=4, help="of the worker's flow runs at once; 0: none")
    parser.add_argument("--processes", type=int, default=4, help="that tick without Prefect")
    parser.add_argument("--keep", type=Path, help="a folder to be made, with --store; without it, all is thrown away")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.store is None:
        for store in STORES:
            subprocess.run([sys.executable, __file__, "--store", store, *sys.argv[1:]], check=True)
        return
    found = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    found |= {"versions": versions("motherlode", "prefect"), "cores": os.cpu_count()}
    found[arguments.store] = _measured(arguments)
    arguments.results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
