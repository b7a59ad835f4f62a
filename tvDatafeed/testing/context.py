"""The objects that all connections of one server share."""

import ssl
from dataclasses import dataclass

from tvDatafeed.testing.faults import ActiveFaults
from tvDatafeed.testing.journal import Journal
from tvDatafeed.testing.sessions.backend import Backend
from tvDatafeed.testing.wire.delay_line import Link


@dataclass(frozen=True)
class ServerContext:
    """The backend, faults, journal, link and origins of a server, and its intervals in seconds."""

    backend: Backend
    faults: ActiveFaults
    journal: Journal
    heartbeat_interval_s: float
    tick_interval_s: float
    echo_timeout_s: float
    tls: ssl.SSLContext | None
    link: Link
    origins: set[str]
