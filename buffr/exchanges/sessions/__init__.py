"""WebSocket sessions: relayed from a live upstream, or replayed from a recording."""
