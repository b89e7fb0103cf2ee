"""Whether the live API still answers as it was recorded: what counts, and what is noise."""
