"""Symbols: search, descriptions and trading hours."""
