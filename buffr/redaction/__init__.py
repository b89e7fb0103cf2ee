"""Finds credentials, and replaces them before anything is stored or logged."""
