"""What a client has asked the loopback server for."""

PAGES = ("create_series", "request_more_data")


def requested(server, since=0):
    """Return the requests for bars that the server has received, after a number of earlier ones."""
    found = [command for command in server.received if command.method in PAGES]
    return found[since:]
