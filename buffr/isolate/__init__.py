"""Linux namespaces in which every connection of a command ends at buffr."""
