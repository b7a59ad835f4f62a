"""From the arguments of a call to a request: checks and meanings, without I/O."""
