"""What identifies a request."""
