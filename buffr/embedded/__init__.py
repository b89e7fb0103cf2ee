"""buffr inside a Python program: its reactor's thread, settings, log and figures."""
