"""``buffr doctor``: whether all that buffr needs is as it should be."""
