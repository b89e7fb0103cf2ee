"""HTTP caching as a shared cache does it (RFC 9111), and what a route overrides."""
