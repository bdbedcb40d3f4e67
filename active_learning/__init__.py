"""Motherlode: active-learning campaigns for materials discovery.

This package is the science and the campaign; it never imports prefect. ``active_learning.api.Campaign`` is the way in.
"""

__version__ = "0.1.0"
