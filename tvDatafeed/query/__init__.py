"""From the arguments of a call to a request: checks and conversions, without I/O."""
