"""buffr inside a Python program: its reactor thread, settings, log and figures."""
