"""The ``buffr run`` command: a command of the user's, behind a proxy of its own."""
