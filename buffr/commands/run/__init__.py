"""The ``buffr run`` command: runs a user's command behind its own proxy."""
