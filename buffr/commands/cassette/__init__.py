"""``buffr cassette``: look into cassettes, check them, and take interactions out."""
