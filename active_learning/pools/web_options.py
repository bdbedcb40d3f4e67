"""Options that pools from databases on the network share."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from active_learning.domain.options import Duration, FilePath
from active_learning.pools.filters import FilterOptions

__all__ = ["WebOptions"]


class WebOptions(FilterOptions):
    """Keys of every pool that is downloaded."""

    max_structures: int = Field(
        default=10_000,
        ge=1,
        description="Most structures to download, in the server's order. How many lie beyond is reported as dropped.",
    )
    timeout: Duration = Field(default=30.0, description="Longest silence of the server before it is asked again.")
    cache: FilePath = Field(
        default=Path(".motherlode-cache"),
        description=(
            "Folder where downloads are kept, page by page. An unfinished one goes on where it ended; a finished one is"
            " read again without asking the server."
        ),
    )
    refresh: bool = Field(
        default=False, description="Download anew, even if a finished download is kept; it takes the place of the old."
    )
