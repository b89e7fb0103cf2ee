"""Caches in SQLite: stored answers, and the thread that keeps them."""
