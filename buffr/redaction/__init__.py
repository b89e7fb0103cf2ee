"""What never reaches the disk."""
