"""Recordings and cached answers in SQLite."""
