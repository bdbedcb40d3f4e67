"""The image of docker/Dockerfile, built once for these tests. Where it cannot be built, they fail and say why."""

from __future__ import annotations

from collections.abc import Iterator

import container_image
import pytest
from container_image import Container, Image
from hpc_need import need


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image, built from this source tree on a stand-in for its base."""
    need(container_image.what_is_missing())
    with container_image.building() as built:
        yield built


@pytest.fixture(scope="session")
def container(image: Image) -> Iterator[Container]:
    """One container of it, for short commands."""
    with image.container() as made:
        yield made
