"""Serve recorded payloads: one captured chart session, with the ids of the requesting client.

A request for a series gets the main series of the recorded session. Other parts of the recorded
chart, such as studies and compared symbols, have ids that the client does not know.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tvDatafeed.protocol.framing import PacketDecoder, Violation
from tvDatafeed.testing.wire.payloads import to_json

# The positions of series and turnaround in a message's params; the session is always first.
_SERIES_AND_TURNAROUND = {
    "series_loading": (1, 2),
    "series_completed": (1, 3),
    "series_error": (1, 2),
    "series_timeframe": (1, 2),
}
_SYMBOL_MESSAGES = frozenset({"symbol_resolved", "symbol_error"})
_BAR_MESSAGES = frozenset({"timescale_update", "du"})


def load_packets(text: str) -> list[str]:
    """Split recorded text into payloads.

    Parameters
    ----------
    text
        Consecutive packets, including their ``~m~`` headers.

    Returns
    -------
    list of str
        The payloads, including heartbeats and the hello.

    Raises
    ------
    ValueError
        If a packet is broken or the last packet is incomplete.

    Examples
    --------
    >>> load_packets('~m~4~m~~h~1~m~13~m~{"m":"hello"}')
    ['~h~1', '{"m":"hello"}']
    """
    end = "~h~0"
    payloads = PacketDecoder().feed(f"{text}~m~{len(end)}~m~{end}")
    broken = [item.what for item in payloads if isinstance(item, Violation)]
    if broken or not payloads or payloads[-1] != end:
        raise ValueError(f"not a sequence of whole packets: {broken or 'the last one is cut'}")
    return [item for item in payloads[:-1] if isinstance(item, str)]


@dataclass(frozen=True)
class SeriesIds:
    """The ids that one client uses for its session, symbol and series."""

    session: str
    symbol: str
    series: str
    turnaround: str


class Recording:
    """The payloads of one series of one recorded chart session.

    Parameters
    ----------
    payloads
        JSON texts as captured. Payloads without a chart session, such as the hello, heartbeats and
        quotes, and those of another session, series or symbol, are ignored.
    session
        The recorded name of the chart session; None for the first one. Its main series and symbol
        are those that occur first.

    Raises
    ------
    ValueError
        If the payloads do not contain a chart session, or not this one.
    """

    def __init__(self, payloads: Iterable[str], session: str | None = None) -> None:
        messages = [json.loads(text) for text in payloads if text.startswith("{")]
        chart = [message for message in messages if _is_chart_message(message)]
        if not chart:
            raise ValueError("the recording holds no message of a chart session")
        names = list(dict.fromkeys(message["p"][0] for message in chart))
        session = names[0] if session is None else session
        if session not in names:
            raise ValueError(f"the recording has no chart session {session!r}, but {names}")
        mine = [message for message in chart if message["p"][0] == session]
        self._series = next(filter(None, map(_series_of, mine)), "")
        symbols = (message["p"][1] for message in mine if message["m"] in _SYMBOL_MESSAGES)
        self._symbol = next(symbols, "")
        self._messages, self._pages = self._split(list(filter(self._is_of_main_series, mine)))

    def payloads(self, ids: SeriesIds, *, with_symbol: bool = True) -> list[str]:
        """Return the payloads with the ids of a client, without older pages.

        Parameters
        ----------
        ids
            The ids that replace the recorded ones.
        with_symbol
            Whether the answers to resolve_symbol are included.
        """
        return [
            to_json(self._rewritten(message, ids))
            for message in self._messages
            if with_symbol or message["m"] not in _SYMBOL_MESSAGES
        ]

    def symbol_payloads(self, ids: SeriesIds) -> list[str]:
        """Return only the answers to resolve_symbol."""
        return [
            to_json(self._rewritten(message, ids))
            for message in self._messages
            if message["m"] in _SYMBOL_MESSAGES
        ]

    def page_payloads(self, ids: SeriesIds, number: int) -> list[str]:
        """Return a recorded answer to request_more_data; empty if there are fewer.

        Parameters
        ----------
        ids
            The ids that replace the recorded ones.
        number
            0 for the first older page.
        """
        page = self._pages[number] if number < len(self._pages) else []
        return [to_json(self._rewritten(message, ids)) for message in page]

    def _split(
        self, messages: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
        """Separate the older pages from all other messages.

        An answer that follows a page and has no bars belongs to another command, such as
        modify_series, and is left out.
        """
        answers: list[list[dict[str, Any]]] = [[]]
        for message in messages:
            answers[-1].append(message)
            if message["m"] == "series_completed":
                answers.append([])
        first: list[dict[str, Any]] = []
        pages: list[list[dict[str, Any]]] = []
        for answer in answers:
            indexes = [index for message in answer for index in self._indexes(message)]
            if indexes and min(indexes) < 0:
                pages.append(answer)
            elif indexes or not pages:
                first += answer
        return first, pages

    def _indexes(self, message: dict[str, Any]) -> list[int]:
        """Return the indexes of the bars in a message; those of an older page are negative."""
        if message["m"] not in _BAR_MESSAGES:
            return []
        return [item["i"] for item in message["p"][1].get(self._series, {}).get("s", [])]

    def _is_of_main_series(self, message: dict[str, Any]) -> bool:
        what = message["p"][1]
        if message["m"] in _SYMBOL_MESSAGES:
            return bool(what == self._symbol)
        if message["m"] in _SERIES_AND_TURNAROUND:
            return bool(what == self._series)
        # A message without a series is about future times, which apply to all series.
        return not what or self._series in what

    def _rewritten(self, message: dict[str, Any], ids: SeriesIds) -> dict[str, Any]:
        name, params = message["m"], [ids.session, *message["p"][1:]]
        if name in _SYMBOL_MESSAGES:
            params[1] = ids.symbol
        elif name in _SERIES_AND_TURNAROUND:
            series, turnaround = _SERIES_AND_TURNAROUND[name]
            params[series], params[turnaround] = ids.series, ids.turnaround
        elif name in _BAR_MESSAGES:
            mine = self._mine(params[1], ids)
            params[1] = {key: {**value, "t": ids.turnaround} for key, value in mine.items()}
            params[2:] = [self._timeline(timeline, ids) for timeline in params[2:]]
        return {**message, "p": params}

    def _timeline(self, timeline: dict[str, Any], ids: SeriesIds) -> dict[str, Any]:
        switches = timeline.get("last_session_switches")
        if not isinstance(switches, dict):
            return timeline
        return {**timeline, "last_session_switches": self._mine(switches, ids)}

    def _mine(self, by_series: dict[str, Any], ids: SeriesIds) -> dict[str, Any]:
        return {ids.series: by_series[self._series]} if self._series in by_series else {}


def _is_chart_message(message: dict[str, Any]) -> bool:
    return message.get("m") in {*_SERIES_AND_TURNAROUND, *_SYMBOL_MESSAGES, *_BAR_MESSAGES}


def _series_of(message: dict[str, Any]) -> str:
    if message["m"] in _SERIES_AND_TURNAROUND:
        return str(message["p"][1])
    if message["m"] in _BAR_MESSAGES:
        return next((str(key) for key, value in message["p"][1].items() if "s" in value), "")
    return ""
