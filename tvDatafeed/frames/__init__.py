"""From answers to DataFrames and pictures; only this folder imports pandas."""
