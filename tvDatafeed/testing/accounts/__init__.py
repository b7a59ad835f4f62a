"""The accounts of the loopback server: sign-in, cookies and data tokens."""
