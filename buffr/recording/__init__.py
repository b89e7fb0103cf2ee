"""Live pieces become an interaction, and an interaction becomes pieces."""
