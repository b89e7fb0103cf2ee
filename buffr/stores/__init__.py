"""Stores of interactions and of cached answers."""
