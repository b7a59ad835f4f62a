"""Recognize the hosts that are this machine."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, which never needs a proxy."""
    import ipaddress  # noqa: PLC0415 - settings are imported by each program

    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
