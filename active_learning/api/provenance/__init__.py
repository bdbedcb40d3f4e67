"""Provenance: every decision computed again from what is stored (`motherlode replay`), and a campaign packed for others
(`motherlode export FILE bundle`).

A backtest (`active_learning.evaluation`) plays a campaign on labels that are known already; here nothing is played:
what a campaign has done is looked at, moment by moment, and computed anew.
"""
