"""Recordings of other tools: read into interactions, and written from them."""
