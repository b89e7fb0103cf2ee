"""The bytes of HTTP/1.1: heads over httptools, bodies by their framing. Both sides use it."""
