"""From answers to DataFrames and pictures; the only importer of pandas."""
