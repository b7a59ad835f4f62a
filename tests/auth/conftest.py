"""The loopback TradingView with accounts, and a token cache of each test's own."""

import pytest

from tests.auth.accounts import ANN, MAIL, PAYS, TEXT, TWO
from tvDatafeed.testing import FakeTradingView


@pytest.fixture
def server(cache_file):
    """A loopback TradingView with accounts."""
    with FakeTradingView(accounts=(ANN, TWO, TEXT, MAIL, PAYS)) as running:
        yield running


@pytest.fixture
def cache_file(tmp_path, monkeypatch):
    """The user's cache folder is one of the test's own."""
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda app: str(tmp_path / app))
    return tmp_path / "tvDatafeed" / "tokens.json"
