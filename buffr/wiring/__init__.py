"""Settings become a tree of services: the rooms' concrete classes meet here, and in ``tap``."""
