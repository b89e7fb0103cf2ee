"""Builds the tree of services from settings; only this room and ``tap`` know all classes."""
