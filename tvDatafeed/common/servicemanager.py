"""What a process reports to the service manager that has started it, such as systemd.

The protocol is that of sd_notify(3): lines of ``NAME=value`` in one datagram to a local socket.
"""

import logging
import socket

from tvDatafeed.common.facts import facts

__all__ = ["ServiceManager"]

logger: logging.Logger = logging.getLogger(__name__)

# For a service manager that does not read; a datagram to it is dropped then.
_SEND_S = 1.0


class ServiceManager:
    """The service manager, as the environment names its socket.

    Parameters
    ----------
    address
        ``NOTIFY_SOCKET``: a path, or "@" and an abstract name; None where there is none.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address if address is not None and address[:1] in {"/", "@"} else None
        self._is_failing = False

    @property
    def is_there(self) -> bool:
        """Whether reports are sent at all; Windows has no such sockets."""
        return self._address is not None and hasattr(socket, "AF_UNIX")

    def notify(self, **report: object) -> bool:
        """Report something, such as ``READY=1``; False when it could not be sent.

        A failure is one WARNING until a report is sent again.
        """
        address = self._address
        if address is None or not hasattr(socket, "AF_UNIX"):
            return False
        name = f"\0{address[1:]}" if address[0] == "@" else address
        # One line each, whatever is in a value.
        lines = (f"{key}={' '.join(str(value).split())}" for key, value in report.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_S)
                sender.connect(name)
                sender.send("\n".join(lines).encode())
        except OSError as error:
            if not self._is_failing:
                reason = error.strerror or error
                text = "NOTIFY_SOCKET %s cannot be reached: %s"
                logger.warning(text, address, reason, extra=facts(error=error, path=address))
            self._is_failing = True
            return False
        self._is_failing = False
        return True
