"""Helpers that know nothing of TradingView."""
