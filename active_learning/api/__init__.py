"""`Campaign`: create, open, ask, tell, tick, run, status. The way in for Python code and for the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from active_learning.api.campaign import Campaign

__all__ = ["Campaign"]


def __getattr__(name: str) -> Any:
    """Load the campaign, and scikit-learn with it, only when somebody asks for it: `status` must be quick."""
    if name == "Campaign":
        from active_learning.api.campaign import Campaign

        return Campaign
    raise AttributeError(name)
