"""Long runs under random faults, on demand; run with ``python -m tests.soak``."""
