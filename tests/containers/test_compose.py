"""docker/compose.yaml: valid, closed to the outside, without a secret, and as the docs describe it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compose_stack import COMPOSE, composed
from container_image import ROOT
from hpc_need import need

SERVICES = composed()["services"]


def test_it_is_what_the_compose_specification_allows() -> None:
    program = shutil.which(Path(sys.executable).with_name("check-jsonschema")) or shutil.which("check-jsonschema")
    need(None if program else "not installed: check-jsonschema (pip)")
    assert program is not None
    done = subprocess.run(
        [program, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ports_are_published_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"server": ["127.0.0.1:4200:4200"]}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service: dict[str, Any] = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["restart"] == "unless-stopped"
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices", "ipc"} & set(service)
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_passwords_come_from_files_and_go_to_those_who_need_them(name: str) -> None:
    service = SERVICES[name]
    named = {
        value.removeprefix("/run/secrets/") for value in service["environment"].values() if "/run/secrets/" in value
    }
    if name == "postgres":
        named |= set(re.findall(r"/run/secrets/(\w+)", (ROOT / "docker" / "databases.sql").read_text()))
    assert set(service["secrets"]) == named
    assert not [key for key in service["environment"] if "PASSWORD" in key and not key.endswith("_FILE")]
    assert all(set(secret) == {"file"} for secret in composed()["secrets"].values())


def test_services_start_when_what_they_need_is_healthy() -> None:
    needed = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    assert needed == {"postgres": set(), "server": {"postgres"}, "worker": {"postgres", "server"}}
    conditions = {one["condition"] for service in SERVICES.values() for one in service.get("depends_on", {}).values()}
    assert conditions == {"service_healthy"}
    assert "healthcheck" in SERVICES["postgres"]


def test_images_are_pinned_and_postgresql_is_of_the_release_that_is_tested_here() -> None:
    found = re.fullmatch(r"postgres:(\d+)\.\d+-(\w+)", SERVICES["postgres"]["image"])
    assert found is not None
    base = re.search(
        r"^ARG PYTHON=python:3\.11-slim-(\w+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE
    )
    assert base is not None
    assert base[1] == found[2]
    psql = shutil.which("psql")
    need(None if psql else "not installed: psql (Debian: postgresql)")
    said = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert f" {found[1]}." in said


def test_the_docs_name_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{(MOTHERLODE_\w+):-([^}]*)\}", COMPOSE.read_text()))
    page = (ROOT / "docs" / "containers.md").read_text()
    told = dict(re.findall(r"^\| `(MOTHERLODE_\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert set(told) == set(used)
    assert [name for name, default in used.items() if f"`{default}`" not in told[name]] == []
