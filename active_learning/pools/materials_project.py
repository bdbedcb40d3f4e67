"""The pool `materials_project`: crystals of the Materials Project, with its values as first labels if wished."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any

import httpx
from pydantic import AfterValidator, Field, field_validator, model_validator
from pymatgen.core.structure import Structure

from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import ATOMIC_NUMBERS, SYMBOLS
from active_learning.domain.hints import did_you_mean
from active_learning.domain.label import Measurement
from active_learning.errors import BackendError, ContractError, UserError
from active_learning.pools.filters import Elements, Sieve
from active_learning.pools.web_client import BaseUrl, Secret, Sleep, WebClient
from active_learning.pools.web_options import WebOptions
from active_learning.pools.web_pages import Download, Page, Snapshot

__all__ = ["UNITS", "MaterialsProject"]

UNITS: Mapping[str, str] = {
    "band_gap": "eV",
    "bulk_modulus.reuss": "GPa",
    "bulk_modulus.voigt": "GPa",
    "bulk_modulus.vrh": "GPa",
    "density": "g/cm^3",
    "e_electronic": "",
    "e_ionic": "",
    "e_total": "",
    "efermi": "eV",
    "energy_above_hull": "eV/atom",
    "energy_per_atom": "eV/atom",
    "equilibrium_reaction_energy_per_atom": "eV/atom",
    "formation_energy_per_atom": "eV/atom",
    "homogeneous_poisson": "",
    "n": "",
    "shear_modulus.reuss": "GPa",
    "shear_modulus.voigt": "GPa",
    "shear_modulus.vrh": "GPa",
    "total_magnetization": "mu_B",
    "uncorrected_energy_per_atom": "eV/atom",
    "universal_anisotropy": "",
    "volume": "Angstrom^3",
}
"""Units of the summary's usual properties."""

_OWN = frozenset(
    {
        "chemsys",
        "elements",
        "energy_above_hull_max",
        "exclude_elements",
        "is_stable",
        "nelements_max",
        "nelements_min",
        "nsites_max",
        "nsites_min",
    }
)
_HINT = "The parameters of the endpoint materials/summary are described at https://api.materialsproject.org/docs."


def _chemical_systems(systems: tuple[str, ...]) -> tuple[str, ...]:
    for system in systems:
        parts = system.split("-")
        wrong = [part for part in parts if part not in ATOMIC_NUMBERS and part != "*"]
        if wrong:
            raise ValueError(f"{system!r} is no chemical system like 'Al-O': no such element: {', '.join(wrong)}")
        if "*" in parts and len(systems) > 1:
            raise ValueError(f"{system!r} has a wildcard, and then must be the only one")
    return systems


class MaterialsProject:
    """Candidates from the summary of the Materials Project, in the order of its answer.

    It needs a key (free, from an account there) in an environment variable; a finished download needs none.

    References
    ----------
    Jain et al. (2013), doi:10.1063/1.4812323: the Materials Project.
    """

    class Options(WebOptions):
        """Keys of the table `[pool]` with ``kind = "materials_project"``."""

        elements: Elements | None = Field(
            default=None, description="Ask for materials of these elements only; without it, of any."
        )
        chemsys: Annotated[tuple[str, ...], AfterValidator(_chemical_systems)] = Field(
            default=(), description='Ask for these chemical systems only, such as ["Al-O", "Al-Cu-O"] or ["Si-*"].'
        )
        max_energy_above_hull: float | None = Field(
            default=None, ge=0.0, description="Ask for materials at most so far above the convex hull (eV/atom)."
        )
        is_stable: bool | None = Field(default=None, description="Ask for materials on the hull (or off it) only.")
        query: dict[str, str | bool | int | float] = Field(
            default_factory=dict,
            description='Further parameters of the endpoint materials/summary, such as { crystal_system = "Cubic" }.',
        )
        label: str | None = Field(
            default=None,
            pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$",
            description=(
                "Field of the summary that is the target's value: these are the campaign's first labels. A part of a"
                ' field is named with a dot: "bulk_modulus.vrh".'
            ),
        )
        label_unit: str | None = Field(default=None, description="Unit of the label; known for the usual fields.")
        url: BaseUrl = Field(default="https://api.materialsproject.org", description="Address of the API, or a mirror.")
        key_env: str = Field(
            default="MP_API_KEY",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            description="Environment variable that holds the key. The key itself never stands in a file.",
        )
        page_size: int = Field(default=500, ge=1, le=1000, description="Materials a page.")

        @field_validator("url")
        @classmethod
        def _keeps_the_key_secret(cls, url: str) -> str:
            address = httpx.URL(url)
            if address.scheme == "http" and address.host not in ("127.0.0.1", "localhost", "::1"):
                raise ValueError("a key is sent over https only (http is for servers on this machine)")
            return url

        @field_validator("query")
        @classmethod
        def _leaves_the_rest_to_us(
            cls, query: dict[str, str | bool | int | float]
        ) -> dict[str, str | bool | int | float]:
            own = [name for name in query if name in _OWN]
            odd = [name for name in query if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]
            if own or odd:
                faults = [f"{name}: has a key of its own in [pool]" for name in own]
                raise ValueError("; ".join(faults + [f"{name!r}: not a parameter that can be set" for name in odd]))
            return query

        @model_validator(mode="after")
        def _has_a_unit(self) -> MaterialsProject.Options:
            if self.label is not None and self.label_unit is None and self.label not in UNITS:
                raise ValueError(
                    f"the unit of {self.label!r} is not known: write label_unit.{did_you_mean(self.label, UNITS)}"
                    f" Known: {', '.join(sorted(UNITS))}"
                )
            return self

    def __init__(self, options: Options, *, sleep: Sleep = time.sleep) -> None:
        self.options = options
        self._sleep = sleep
        self._download = Download(
            options.cache, "materials-project", self._first_page(), options.max_structures, refresh=options.refresh
        )

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every material, after the download; what is disordered, unwanted or broken as `Dropped`.

        Raises
        ------
        UserError
            If there is no key, it is refused, or nothing matches.
        BackendError
            If the server cannot be reached, or answers something else than documented.
        """
        snapshot, n_documents = self._snapshot(), 0
        for n_documents, (item, _) in enumerate(self._sifted(snapshot), start=1):  # noqa: B007 - counts what came
            yield item
        if not n_documents:
            raise UserError(f"{self.options.url} has no material that matches the [pool] table: {self._asked()}.")
        if snapshot.n_beyond != 0:
            more = f"{snapshot.n_beyond:,} more" if snapshot.n_beyond else "more"
            yield Dropped(self.options.url, f"beyond max_structures: {more} than {self.options.max_structures:,}")

    def known_labels(self, property_name: str) -> Iterator[tuple[str, Measurement]]:
        """The values of the field `label`, under the name of the target; none without this option.

        Raises
        ------
        UserError
            As `read`; also if a value is not a number, or no material has one.
        """
        options, n_labels = self.options, 0
        if options.label is None:
            return
        unit = UNITS.get(options.label, "") if options.label_unit is None else options.label_unit
        snapshot = self._snapshot()
        versions = snapshot.meta()
        for item, document in self._sifted(snapshot):
            value = _value(document, options.label) if isinstance(item, Candidate) else None
            if value is None or not isinstance(item, Candidate):
                continue
            n_labels += 1
            built = document.get("builder_meta")
            database = built.get("database_version") if isinstance(built, dict) else None
            provenance = {
                "url": options.url,
                "material_id": item.origin,
                "field": options.label,
                "downloaded": snapshot.finished,
            } | ({"database_version": str(database)} if database else dict(versions))
            yield item.id, Measurement({property_name: (value, unit)}, "materials_project", provenance)
        if not n_labels:
            raise UserError(f"No material that was taken has a value in the field {options.label!r}: check `label`.")

    def _sifted(self, snapshot: Snapshot) -> Iterator[tuple[Candidate | Dropped, Mapping[str, Any]]]:
        """Each document, and what became of it."""
        sieve = Sieve(self.options, self.options.elements)
        for place, document in snapshot.entries():
            origin = str(document["material_id"]) if document.get("material_id") else place
            found = _crystal(document.get("structure"))
            item = sieve.sift(Candidate.of(found, origin)) if isinstance(found, Crystal) else Dropped(origin, found)
            yield item, document

    def _snapshot(self) -> Snapshot:
        options = self.options
        secret = Secret(options.key_env, "X-API-KEY", "https://next-gen.materialsproject.org/api")
        client = WebClient(options.url, options.timeout, secret=secret, hint=_HINT, sleep=self._sleep)
        with closing(client):
            return self._download.snapshot(lambda url: _page(url, client.get(url)))

    def _asked(self) -> dict[str, str]:
        """What is asked of the server, by the names of its parameters."""
        options = self.options
        others = [symbol for symbol in SYMBOLS if symbol not in options.elements] if options.elements else []
        asked: dict[str, Any] = {
            "exclude_elements": ",".join(others) or None,
            "chemsys": ",".join(options.chemsys) or None,
            "energy_above_hull_max": options.max_energy_above_hull,
            "is_stable": options.is_stable,
            "nelements_min": min(options.n_elements) if options.n_elements else None,
            "nelements_max": max(options.n_elements) if options.n_elements else None,
            "nsites_min": options.min_atoms,
            "nsites_max": options.max_atoms,
        } | options.query
        return {name: str(value).lower() if value is True or value is False else str(value)
                for name, value in asked.items() if value is not None}  # fmt: skip

    def _first_page(self) -> str:
        fields = ["material_id", "structure", "builder_meta"]
        if self.options.label is not None:
            fields.append(self.options.label.partition(".")[0])
        paging = {
            "_fields": ",".join(fields),
            # Without an order, pages of a database can overlap.
            "_sort_fields": "material_id",
            "_limit": str(min(self.options.page_size, self.options.max_structures)),
            "_skip": "0",
        }
        return str(httpx.URL(f"{self.options.url}/materials/summary/", params=self._asked() | paging))


def _page(url: str, answer: Mapping[str, Any]) -> Page:
    documents, meta = answer.get("data"), answer.get("meta")
    total = meta.get("total_doc") if isinstance(meta, dict) else None
    if not isinstance(documents, list) or not all(isinstance(one, dict) for one in documents):
        raise BackendError("The answer is not the Materials Project's: it has no list of documents under 'data'.")
    if not isinstance(meta, dict) or not isinstance(total, int):
        raise BackendError("The answer is not the Materials Project's: its 'meta' does not say total_doc.")
    address = httpx.URL(url)
    n_done = int(address.params["_skip"]) + len(documents)
    after = str(address.copy_set_param("_skip", str(n_done))) if n_done < total else None
    kept = {name: str(meta[name]) for name in ("api_version", "db_version", "database_version") if meta.get(name)}
    return Page(documents, after, total, state=str(total), meta=kept)


def _crystal(value: Any) -> Crystal | str:
    """The crystal in a document, or the reason why there is none, in one line."""
    try:
        # Lattice and occupations alone: other properties may name classes of any installed package to be built.
        sites = [{"species": site["species"], "abc": site["abc"]} for site in value["sites"]]
        return from_structure(Structure.from_dict({"lattice": value["lattice"], "sites": sites}))
    except ContractError as error:
        return " ".join(str(error).split())
    except Exception as error:  # noqa: BLE001 - a broken structure may raise anything, and is reported as dropped
        return f"cannot be read: {type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _value(document: Mapping[str, Any], field: str) -> float | None:
    """The number in a field, by its dotted name; None if there is none."""
    value: Any = document
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{field!r} of {document.get('material_id')} is not a finite number: {str(value)[:60]}")
    return float(value)
