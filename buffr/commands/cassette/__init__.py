"""``buffr cassette``: inspects cassettes, checks them, and removes interactions."""
