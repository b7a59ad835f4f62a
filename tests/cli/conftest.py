"""The loopback TradingView that the environment of a command names."""

import pytest

from tests.programs import urls


@pytest.fixture
def loopback(server, monkeypatch):
    """A loopback TradingView that the environment names, without a login."""
    monkeypatch.setenv("TV_TOKEN_CACHE", "off")
    for variable, url in urls(server).items():
        monkeypatch.setenv(variable, url)
    return server
