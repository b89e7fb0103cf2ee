"""Commands that ask a running buffr, by its admin listener."""
