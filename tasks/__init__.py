"""Prefect tasks, one per action of a campaign."""
