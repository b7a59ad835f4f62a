"""Helpers that would serve the client of any server."""
