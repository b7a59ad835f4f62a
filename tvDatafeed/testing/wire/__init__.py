"""HTTP and WebSocket bytes, message payloads, commands and the simulated link."""
