"""The reference server of optimade-python-tools on a free port, with its test data and ours; a process of its own.

    python optimade_server.py FOLDER

It prints its port, and writes into FOLDER: `requests`, one line a request (path and query), and `reference.json`, its
own structures as pymatgen sees them (by its own adapter). While `hold` exists there, requests whose query holds the
text in it wait.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

CUBE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
_NAMES = {
    "task_id": "id",
    "pretty_formula": "chemical_formula_reduced",
    "formula_anonymous": "chemical_formula_anonymous",
}


def entry(name: str, symbols: str = "Cu Au", **changes: Any) -> dict[str, Any]:
    """A structure as it stands in the database: caesium chloride's, if not said otherwise."""
    elements = symbols.split()
    return {
        "id": name,
        "lattice_vectors": CUBE,
        "cartesian_site_positions": [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]][: len(elements)],
        "species": [{"name": one, "chemical_symbols": [one], "concentration": [1.0]} for one in elements],
        "species_at_sites": elements,
        "nsites": len(elements),
        "elements": sorted(elements),
        "nelements": len(elements),
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "structure_features": [],
        "chemical_formula_reduced": "".join(sorted(elements)),
    } | changes


def _species(name: str, symbols: list[str], parts: list[float], **more: Any) -> dict[str, Any]:
    return {"name": name, "chemical_symbols": symbols, "concentration": parts, **more}


GOOD = [entry("good/cuau"), entry("good/alni", "Al Ni"), entry("good/cupd", "Cu Pd"), entry("good/cu", "Cu")]
BAD = {
    "disordered: a site is occupied by Cu 0.5, Au 0.5": entry(
        "bad/alloy", "Cu", species=[_species("Cu", ["Cu", "Au"], [0.5, 0.5])]
    ),
    "disordered: a site is occupied by Cu 0.9": entry("bad/partly", "Cu", species=[_species("Cu", ["Cu"], [0.9])]),
    "disordered: a site is occupied by vacancy 1": entry(
        "bad/vacancy", species=[_species("Cu", ["Cu"], [1.0]), _species("Au", ["vacancy"], [1.0])]
    ),
    "disordered: structure_features names disorder": entry("bad/feature", structure_features=["disorder"]),
    "disordered: structure_features names assemblies": entry("bad/assemblies", structure_features=["assemblies"]),
    "not all atoms are given: structure_features names implicit_atoms": entry(
        "bad/implicit", structure_features=["implicit_atoms"]
    ),
    "not all atoms are given: H is attached to Cu": entry(
        "bad/attached", "Cu", species=[_species("Cu", ["Cu"], [1.0], attached=["H"], nattached=[3])]
    ),
    "not a chemical element: X": entry("bad/x", "Cu", species=[_species("Cu", ["X"], [1.0])]),
    "not periodic in all three directions: dimension_types is [1, 1, 0]": entry("bad/slab", dimension_types=[1, 1, 0]),
    "not periodic in all three directions: dimension_types is not given": entry("bad/unsaid", dimension_types=None),
    "cannot be read: lattice_vectors.2.1: Input should be a valid number": entry(
        "bad/lattice", lattice_vectors=[*CUBE[:2], [0.0, None, 4.0]]
    ),
    "cannot be read: 1 positions, 2 species, nsites 2": entry("bad/sites", cartesian_site_positions=[[0.0, 0.0, 0.0]]),
    "cannot be read: a site holds 'Ag', which is not among its species": entry(
        "bad/unknown", species_at_sites=["Cu", "Ag"]
    ),
    "cannot be read: it has no sites": entry(
        "bad/empty", cartesian_site_positions=[], species_at_sites=[], nsites=0, species=[]
    ),
    "the lattice vectors lie in one plane: the cell has no volume": entry(
        "bad/flat", lattice_vectors=[CUBE[0], CUBE[0], CUBE[2]]
    ),
    "its sites do not give its stated formula: AuCu, not AuCu3": entry("bad/formula", chemical_formula_reduced="AuCu3"),
}
"""Reason -> what is dropped for it."""


def _watched(app: Any, folder: Path) -> Any:
    import asyncio

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            query = scope["query_string"].decode()
            with (folder / "requests").open("a") as log:
                log.write(f"{scope['path']}?{query}\n")
            hold = folder / "hold"
            while hold.exists() and hold.read_text() in query:
                await asyncio.sleep(0.01)
        await app(scope, receive, send)

    return watched


def _as_resource(document: dict[str, Any]) -> Any:
    """What their adapter reads."""
    from optimade.models import Species, StructureResource, StructureResourceAttributes

    species = [Species(**one) for one in document["species"]]
    attributes = StructureResourceAttributes.model_construct(**(document | {"species": species}))
    return StructureResource.model_construct(id=document["id"], attributes=attributes)


def main(folder: Path) -> None:
    """Serve until killed."""
    import optimade.server.data as theirs
    import uvicorn
    from optimade.adapters.structures.pymatgen import get_pymatgen
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app

    # Not the providers' list, which it would look for on the network.
    app = create_app(ServerConfig(insert_test_data=False, database_backend="mongomock", page_limit_max=50))
    given = [
        {_NAMES.get(name, name): value for name, value in one.items() if name != "_id"} for one in theirs.structures
    ]
    app.state.entry_collections["structures"].insert([*given, *GOOD, *BAD.values()])
    reference = {one["id"]: get_pymatgen(_as_resource(one)).as_dict() for one in given}
    (folder / "reference.json").write_text(json.dumps(reference))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    print(f"port {listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(_watched(app, folder), log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
