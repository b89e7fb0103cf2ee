"""Moves what a recording says about time to the time of its replay, and back again."""
