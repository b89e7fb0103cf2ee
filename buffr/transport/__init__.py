"""Bytes in motion: bodies with back-pressure, spools, sinks, and stepping of coroutines."""
