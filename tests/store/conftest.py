"""The stores of the contract: each test runs against every engine that is available here."""

import os

import pytest

from tests.store.postgresserver import NO_SERVER, PostgresServer, has_server
from tvDatafeed.store import BarStore

# A store on another server, whose bars and documents the tests remove.
OTHER_URL = os.environ.get("TVDATAFEED_TEST_STORE_URL")
KINDS = ("sqlite", "postgresql", *(("other",) if OTHER_URL else ()))


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of this worker; the tests that need it are skipped without one."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def new_store_url(request, tmp_path):
    """Make the URL of an empty store of a kind."""

    def make(kind):
        if kind == "postgresql":
            return request.getfixturevalue("postgres").new_database()
        if kind == "other":
            with BarStore(OTHER_URL) as store:
                store.clear()
            return OTHER_URL
        return f"sqlite:///{tmp_path / 'bars.db'}"

    return make


@pytest.fixture(params=KINDS)
def store_url(request, new_store_url):
    """The URL of an empty store, of each kind in turn."""
    return new_store_url(request.param)


@pytest.fixture
def store(store_url):
    """An empty store, of each kind in turn."""
    with BarStore(store_url) as opened:
        yield opened
