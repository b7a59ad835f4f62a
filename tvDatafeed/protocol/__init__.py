"""The wire without I/O, threads or clock: framing, messages, series, machine."""
