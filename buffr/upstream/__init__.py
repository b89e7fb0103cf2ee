"""The way to an origin: connections, their pool, and answers as they come."""
