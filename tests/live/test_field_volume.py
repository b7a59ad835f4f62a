"""A live bar without a volume has the number that history has."""

import json

import pytest

from tests.feed import BTC, Bars, live


def volumes(server, policy, sent):
    """Return the volumes of live bars that are sent with some volumes, oldest first."""
    bars = Bars()
    with live(server, data={"fill_missing_volume": policy}) as tvl:
        tvl.subscribe(*BTC, bars, replay_last=False)
        (session,) = server.open_sessions
        start = server.closed()[0].timestamp() + 60
        # One more, which closes the last of them.
        for number, volume in enumerate([*sent, 1.0]):
            cells = [1.0, 2.0, 0.5, 1.5, *([] if volume is None else [volume])]
            row = {"i": 0, "v": [start + 60 * number, *cells]}
            update = {"sds_1": {"s": [row], "t": "s1", "lbs": {"bar_close_time": row["v"][0] + 60}}}
            server.push(json.dumps({"m": "du", "p": [session, update]}))
        assert bars.wait(len(sent))
    return [float(frame["volume"].iloc[0]) for frame in bars.frames[: len(sent)]]


@pytest.mark.parametrize("missing", [None, 1e100, 2e100])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("zero", [7.0, 0.0, 0.0, 8.0, 0.0]),
        ("nan", [7.0, None, None, 8.0, None]),
        ("forward", [7.0, 7.0, 7.0, 8.0, 8.0]),
    ],
)
def test_missing_volume(server, policy, expected, missing):
    """No volume and 1e100 are the same, and "forward" continues over several bars."""
    found = volumes(server, policy, [7.0, missing, missing, 8.0, missing])
    assert [None if volume != volume else volume for volume in found] == expected  # noqa: PLR0124
