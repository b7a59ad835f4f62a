"""The byte level: HTTP and WebSocket frames, payloads, commands and the simulated link."""
