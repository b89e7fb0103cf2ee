"""Accept connections, turn bytes into requests, and answers into bytes."""
