"""A loopback TradingView for testing clients and bots.

`FakeTradingView` is the server, `Market` has the bars that it serves, and the faults in
`tvDatafeed.testing.faults` can be injected into it. `FakeTDengine` is a TDengine for
`tvDatafeed.store`.

Examples
--------
>>> from tvDatafeed.testing import FakeTradingView, NoCompletion
>>> with FakeTradingView() as server:
...     server.inject(NoCompletion(times=1, symbol="NASDAQ:AAPL"))
...     server.faults
(NoCompletion(times=1, symbol='NASDAQ:AAPL'),)
"""

from tvDatafeed.testing.accounts.accounts import Account, Cookies, Login
from tvDatafeed.testing.faults import (
    FAULTS,
    BadHeader,
    BinaryFrame,
    CloseCode,
    CompletionFirst,
    CompressedFrame,
    ConnectSilence,
    CriticalErrorReply,
    Drip,
    EmptyHistory,
    EndlessFragments,
    Fault,
    FinMidFrame,
    ForeignSession,
    GiantHeader,
    GluedHeartbeat,
    HalfOpen,
    HandshakeDrip,
    HandshakeStall,
    HeartbeatFlood,
    HeartbeatsOnly,
    HostileJson,
    HttpDrip,
    HttpHtml,
    HttpHugeBody,
    HttpRedirect,
    HttpReset,
    HttpStall,
    HttpStatus,
    HttpTruncatedGzip,
    InvalidUtf8,
    LateReply,
    LengthUnit,
    NeverRead,
    NoCompletion,
    ProtocolErrorReply,
    Redirect,
    Refuse,
    ReplaceBars,
    RstMidFrame,
    SessionCap,
    SplitPackets,
    TlsGarbage,
    TlsStall,
    TruncatedJson,
    UnknownMessages,
    UpgradeGarbage,
    UpgradeStatus,
    WrongLength,
    parse_fault,
)
from tvDatafeed.testing.journal import Received
from tvDatafeed.testing.market.clock import MarketClock
from tvDatafeed.testing.market.exchanges import LISTINGS
from tvDatafeed.testing.market.listings import Listing, PriceOptions
from tvDatafeed.testing.market.market import Market, MarketBar
from tvDatafeed.testing.server import FakeTradingView
from tvDatafeed.testing.sessions.backend import PLAN_BARS, Refusal
from tvDatafeed.testing.tdengine.server import FakeTDengine, TdengineFault
from tvDatafeed.testing.wire.blackhole import BlackHole
from tvDatafeed.testing.wire.recordings import load_packets

__all__ = [
    "FAULTS",
    "LISTINGS",
    "PLAN_BARS",
    "Account",
    "BadHeader",
    "BinaryFrame",
    "BlackHole",
    "CloseCode",
    "CompletionFirst",
    "CompressedFrame",
    "ConnectSilence",
    "Cookies",
    "CriticalErrorReply",
    "Drip",
    "EmptyHistory",
    "EndlessFragments",
    "FakeTDengine",
    "FakeTradingView",
    "Fault",
    "FinMidFrame",
    "ForeignSession",
    "GiantHeader",
    "GluedHeartbeat",
    "HalfOpen",
    "HandshakeDrip",
    "HandshakeStall",
    "HeartbeatFlood",
    "HeartbeatsOnly",
    "HostileJson",
    "HttpDrip",
    "HttpHtml",
    "HttpHugeBody",
    "HttpRedirect",
    "HttpReset",
    "HttpStall",
    "HttpStatus",
    "HttpTruncatedGzip",
    "InvalidUtf8",
    "LateReply",
    "LengthUnit",
    "Listing",
    "Login",
    "Market",
    "MarketBar",
    "MarketClock",
    "NeverRead",
    "NoCompletion",
    "PriceOptions",
    "ProtocolErrorReply",
    "Received",
    "Redirect",
    "Refusal",
    "Refuse",
    "ReplaceBars",
    "RstMidFrame",
    "SessionCap",
    "SplitPackets",
    "TdengineFault",
    "TlsGarbage",
    "TlsStall",
    "TruncatedJson",
    "UnknownMessages",
    "UpgradeGarbage",
    "UpgradeStatus",
    "WrongLength",
    "load_packets",
    "parse_fault",
]
