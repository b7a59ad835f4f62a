"""Which symbols exist, and what they are."""
