"""The ``buffr mcp`` command: records and replays an MCP server that speaks by lines."""
