"""Whom buffr trusts, and who trusts buffr."""
