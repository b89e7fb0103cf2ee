"""Cassettes: one JSON file of interactions, read in place and appended to."""
