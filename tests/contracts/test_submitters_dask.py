"""The submitter `dask` keeps the laws, on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from dask_cluster import Cluster, dask_cluster

from active_learning.testing.submitters import Recipe, SubmitterContract

pytest.importorskip("distributed", reason="the extra 'dask' is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), 4) as cluster:
        yield cluster


@pytest.mark.slow
class TestDask(SubmitterContract):
    patience_s: ClassVar[float] = 120.0

    @pytest.fixture
    def recipe(self, cluster: Cluster) -> Recipe:
        return "active_learning.submitters.dask.submitter:Dask", {"address": cluster.address, "grace": 0.5}
