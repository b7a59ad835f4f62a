"""The live feed: from a series on a connection to the callbacks of a program."""
