"""Plug-ins: found by name through entry points, or by import path."""

from active_learning.plugins.registry import GROUPS, PluginInfo, installed, load

__all__ = ["GROUPS", "PluginInfo", "installed", "load"]
