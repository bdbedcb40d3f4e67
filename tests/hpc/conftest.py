"""Real batch systems and a real sshd, started for these tests. Where they cannot be had, the tests fail and say why."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ssh_server
from hpc_need import need
from slurm_cluster import SlurmCluster, running_cluster, what_is_missing
from ssh_server import SshServer, running_sshd


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A SLURM of one node, to which this process and its children talk."""
    need(what_is_missing())
    # A short path, for sockets.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        running_cluster(SlurmCluster(Path(folder))) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SLURM_CONF", str(cluster.config))
        yield cluster


@pytest.fixture(scope="session")
def sshd(slurm: SlurmCluster) -> Iterator[SshServer]:
    """An sshd on this machine, behind which the commands of `slurm` are."""
    need(ssh_server.what_is_missing())
    variables = {"SLURM_CONF": str(slurm.config)}
    with tempfile.TemporaryDirectory(prefix="sshd-") as folder, running_sshd(Path(folder), variables) as server:
        yield server
