"""Prefect flows, and the `motherlode` command."""
