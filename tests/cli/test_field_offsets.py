"""Times that the command line writes for programs have offsets."""

import datetime as dt
import io
import json
import zoneinfo

import pandas as pd
import pytest

from tvDatafeed.cli.app import main

BERLIN = "Europe/Berlin"
HOUR = dt.timedelta(hours=1)
SYMBOL = "BINANCE:BTCUSDT"
LIMITS = ["--start=2025-10-26T00:00", "--end=2025-10-26T04:00", "--interval=1h"]


def shown_by(capsys, *options):
    """The times that the command line writes, as texts, and its notes."""
    assert main(["hist", SYMBOL, *LIMITS, *options]) == 0
    out, err = capsys.readouterr()
    if "--format=json" in options:
        return [row["datetime"] for row in json.loads(out)], err
    return pd.read_csv(io.StringIO(out))["datetime"].tolist(), err


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize("form", ["csv", "json"])
def test_texts_of_the_command_line_carry_offsets(set_zone, capsys, form):
    """CSV and JSON of local time have offsets, limits stay local, and there is no warning."""
    set_zone(BERLIN)
    times, err = shown_by(capsys, f"--format={form}")
    moments = [dt.datetime.fromisoformat(time) for time in times]
    first = dt.datetime(2025, 10, 26, tzinfo=zoneinfo.ZoneInfo(BERLIN))
    assert [moment.timestamp() for moment in moments] == [
        first.timestamp() + 3600 * number for number in range(6)
    ]
    assert [moment.utcoffset() / HOUR for moment in moments] == [2, 2, 2, 1, 1, 1]
    assert err == ""


@pytest.mark.usefixtures("loopback")
def test_table_of_the_command_line_warns(set_zone, capsys):
    """The table has local time without a zone, and the WARNING on stderr."""
    set_zone(BERLIN)
    assert main(["hist", SYMBOL, *LIMITS]) == 0
    assert 'timezone="UTC"' in capsys.readouterr().err


@pytest.mark.usefixtures("loopback")
def test_set_zone_wins(set_zone, monkeypatch, capsys):
    """TV_TIMEZONE and --timezone go before the local zone."""
    set_zone(BERLIN)
    monkeypatch.setenv("TV_TIMEZONE", "UTC")
    assert all(time.endswith("+00:00") for time in shown_by(capsys, "--format=csv")[0])
    times, _err = shown_by(capsys, "--format=csv", "--timezone=Asia/Tokyo")
    assert all(time.endswith("+09:00") for time in times)


@pytest.mark.usefixtures("loopback")
def test_empty_zone_is_local_time(set_zone, monkeypatch, capsys):
    """--timezone "" is local time, whatever TV_TIMEZONE says."""
    set_zone(BERLIN)
    local, _err = shown_by(capsys, "--format=csv")
    monkeypatch.setenv("TV_TIMEZONE", "UTC")
    assert main(["hist", SYMBOL, *LIMITS, "--format=csv", "--timezone="]) == 0
    assert pd.read_csv(io.StringIO(capsys.readouterr().out))["datetime"].tolist() == local
    assert main(["hist", SYMBOL, *LIMITS, "--timezone", ""]) == 0
    assert "2025-10-26 00:00:00 " in capsys.readouterr().out
