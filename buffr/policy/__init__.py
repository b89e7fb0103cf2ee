"""What policy says of a request: replay, fetch or refuse."""
