"""Turns live pieces into an interaction, and an interaction into pieces."""
