"""A loopback TDengine: the part of its REST interface and SQL that this library uses."""
