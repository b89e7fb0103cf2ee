"""buffr's own pages over HTTP."""
