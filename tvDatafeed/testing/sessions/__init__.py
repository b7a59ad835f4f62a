"""The chart and quote sessions of one client, and the symbol search."""
