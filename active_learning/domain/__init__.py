"""Pure values: no disk, no clock, no network, no global random state."""
