"""The ``buffr ca`` command: give clients what they need to trust buffr."""
