"""buffr as a client: asks the live API again, compares what it answers, and records it anew."""
