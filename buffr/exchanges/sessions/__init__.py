"""WebSocket sessions: relayed from a live upstream, or spoken by a recording."""
