"""What buffr tells of itself over HTTP."""
