"""Literal values of TradingView's protocol. This module imports nothing."""

# The data token of a client without an account.
ANONYMOUS_TOKEN = "unauthorized_user_token"  # noqa: S105 - a public literal, not a secret
