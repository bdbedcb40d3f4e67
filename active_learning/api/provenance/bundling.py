"""A campaign in one zip file: for a paper's supplement, and for another machine to open, look at and compute again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import distributions, version
from importlib.resources import files as resources
from mmap import ACCESS_READ, mmap
from pathlib import Path
from platform import python_version

from active_learning.api.campaign import Campaign
from active_learning.api.provenance.archive import write_archive
from active_learning.api.provenance.own_files import named_files, own_modules
from active_learning.api.provenance.publishing import public_row, public_tables, public_text, secrets_of
from active_learning.api.provenance.store_copy import copy_store, stored_files
from active_learning.api.record import CampaignRecord
from active_learning.api.recording import record_of
from active_learning.config import read_campaign_file
from active_learning.domain.campaign import Event
from active_learning.errors import UserError
from active_learning.store import Blobs, CampaignStore

__all__ = ["Bundled", "Views", "bundle"]

Views = Callable[[CampaignRecord, Path], None]
"""Writes tables, structures and the report of a campaign into a folder."""


@dataclass(frozen=True)
class Bundled:
    """What was packed.

    Parameters
    ----------
    replaced : keys of the campaign file whose values are not the user's
    left_out : what the file names and the bundle does not hold, with the reasons
    """

    path: Path
    n_files: int
    replaced: tuple[str, ...]
    left_out: tuple[str, ...]


def bundle(campaign: Campaign, output: Path, write_views: Views, *, jobs: bool = False) -> Bundled:
    """Pack a campaign. It is only read, and may be worked on meanwhile: the bundle shows it at one moment.

    The same campaign gives the same bytes, as long as nothing was written to it in between.

    Parameters
    ----------
    output : the zip file; one that is there is replaced
    jobs : the job directories, too

    Raises
    ------
    UserError
        If the campaign file holds a secret that cannot be taken out, or that stands elsewhere too; or `output` cannot
        be written.
    StoreError
        If a file of the campaign is missing.
    """
    with tempfile.TemporaryDirectory(prefix="motherlode-bundle-") as folder:
        packing = _Packing(campaign, Path(folder))
        packing.stored()
        packing.beside_the_file()
        if jobs:
            packing.jobs()
        packing.views(write_views)
        packing.versions()
        packing.readme(jobs)
        packing.refuse_secrets()
        n_files = write_archive(output.resolve(), campaign.name, packing.members)
    return Bundled(output.resolve(), n_files, packing.replaced, packing.left_out)


class _Packing:
    """Collects the files of a bundle: name in it -> where it lies now."""

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        self.campaign = campaign
        self.folder = folder
        self.members: dict[str, Path] = {}
        self.left_out: tuple[str, ...] = ()
        file = read_campaign_file(campaign.path)
        self.tables = file.tables
        self.text, self.replaced = public_text(file.text)
        self.workdir = str(public_tables(file.tables).get("workdir") or f"{campaign.name}.campaign")
        self.database = folder / "campaign.db"
        self.secrets = secrets_of(file.tables)
        copy_store(campaign.store.url, campaign.name, self.database, shown=lambda row: public_row(row, self.secrets))
        with closing(CampaignStore(f"sqlite:///{self.database}", campaign.name)) as store:
            self.facts, self.events = store.read(), store.events()

    def _written(self, name: str, text: str) -> None:
        path = self.folder / "written" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self._add(name, path)

    def _add(self, name: str, path: Path) -> None:
        if name in self.members:
            raise UserError(f"The bundle would hold two files named {name}: rename {path}.")
        self.members[name] = path

    def stored(self) -> None:
        """The store, in a file of its own, and the immutable files that it refers to."""
        self._add(f"{self.workdir}/campaign.db", self.database)
        blobs = Blobs(self.campaign.workdir / "files")
        for name in stored_files(self.facts):
            self._add(f"{self.workdir}/files/{name}", blobs.path(name))

    def beside_the_file(self) -> None:
        """The campaign file, and what it names beside it."""
        home = self.campaign.path.parent
        self._written(self.campaign.path.name, self.text)
        tables = {key: value for key, value in self.tables.items() if key not in ("workdir", "store", "name")}
        named, self.left_out = named_files(tables, home)
        for path in sorted({*own_modules(tables, home), *named} - {self.campaign.path}):
            self._add(path.relative_to(home).as_posix(), path)

    def jobs(self) -> None:
        """Directories of this campaign's requests: plain files, no links."""
        for request in self.facts.requests:
            root = self.campaign.workdir / "jobs" / request.id
            for path in sorted(root.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    self._add(f"{self.workdir}/jobs/{request.id}/{path.relative_to(root).as_posix()}", path)

    def views(self, write_views: Views) -> None:
        """What people read: tables, structures, the report; and the history, a line for each event."""
        folder = self.folder / "views"
        folder.mkdir()
        # Dated by its last event, so that the same campaign gives the same report.
        record = record_of(self.facts, self.campaign.kit, Blobs(self.campaign.workdir / "files"), self.events[-1].time)
        write_views(record, folder)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._add(path.relative_to(folder).as_posix(), path)
        self._written("tables/events.jsonl", "".join(map(_line, self.events)))

    def versions(self) -> None:
        """What the campaign has run with, and what is installed here."""
        installed = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"]}
        found = {
            "campaign": [
                {"event": event.number, "time": event.time.isoformat(), "versions": dict(event.data)}
                for event in self.events
                if event.kind == "versions"
            ],
            "packed_with": {"python": python_version(), "packages": dict(sorted(installed.items()))},
        }
        self._written("versions.json", json.dumps(found, indent=1) + "\n")

    def refuse_secrets(self) -> None:
        """The last look: a secret of the campaign file must be in nothing that is packed.

        Raises
        ------
        UserError
            If it is.
        """
        for name, path in self.members.items():
            if any(_holds(path, secret.encode()) for secret in self.secrets):
                raise UserError(
                    f"{name} holds a secret of {self.campaign.path.name}, so that nothing was packed. Take it out, or"
                    " leave --jobs out if it is a job's."
                )

    def readme(self, jobs: bool) -> None:
        """How to open it, and what is in it."""
        template = resources("active_learning.api.provenance").joinpath("bundle_readme.txt").read_text(encoding="utf-8")
        notes = [f"- `{key}` in {self.campaign.path.name} is not what it was." for key in self.replaced]
        notes += [f"- Not here: {what}." for what in self.left_out]
        notes += [] if jobs else ["- Not here: the directories of the jobs."]
        text = template.format(
            name=self.campaign.name,
            file=self.campaign.path.name,
            version=self.facts.versions.get("motherlode", version("motherlode")),
            events=len(self.events),
            last=self.events[-1].time.strftime("%Y-%m-%d %H:%M UTC"),
            contents="\n".join(f"    {name}\n        {what}" for name, what in self._contents()),
            notes="\n".join(notes) or "- Everything is as it was.",
        )
        self._written("README.txt", text)

    def _contents(self) -> list[tuple[str, str]]:
        """What is there of all that there may be."""
        own = self.campaign.path.name
        known = {own: "the campaign file", f"{self.workdir}/campaign.db": "the store (SQLite)"} | _ABOUT
        found = [(name, what) for name, what in known.items() if name in self.members]
        for folder, what in (
            (f"{self.workdir}/files", _ABOUT_FILES),
            (f"{self.workdir}/jobs", "the jobs' directories"),
        ):
            found += [(f"{folder}/", what)] if any(name.startswith(f"{folder}/") for name in self.members) else []
        beside = sorted(name for name in self.members if name not in known and not name.startswith(f"{self.workdir}/"))
        return found + [(name, "named by the campaign file") for name in beside]


_ABOUT_FILES = "the pool, the descriptors, and each round's predictions"
_ABOUT = {
    "report.html": "the report, for any browser",
    "tables/labels.csv": "every label: its value, where it comes from, and what was predicted of it",
    "tables/labels.json": "the same, with all digits",
    "tables/best.csv": "the best candidates",
    "tables/predictions.csv": "what the last model believes of every candidate",
    "tables/events.jsonl": "the history, an event a line",
    "structures/candidates.extxyz": "the labeled crystals as candidates",
    "structures/relaxed.extxyz": "the labeled crystals as the calculation left them",
    "versions.json": "versions of the packages that it ran with, and was packed with",
}
"""File of a bundle -> what it is."""


def _holds(path: Path, text: bytes) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(text) >= 0


def _line(event: Event) -> str:
    about = {"number": event.number, "time": event.time.isoformat(), "kind": event.kind, "data": dict(event.data)}
    return json.dumps(about, sort_keys=True) + "\n"
