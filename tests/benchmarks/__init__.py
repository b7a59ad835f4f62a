"""Figures beside their targets; run with ``python -m tests.benchmarks``."""
