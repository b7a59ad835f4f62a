"""A Redis server for the tests that need one."""

import itertools
import os

import pytest

from tests.delivery.redisserver import NO_SERVER, RedisServer, has_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def _redis():
    """A server of this worker; the tests that need it are skipped without one."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def redis(_redis):
    """The server of this worker, empty."""
    _redis.command("FLUSHALL")
    return _redis


@pytest.fixture
def own_redis():
    """A server of this test alone, which it may kill."""
    if not has_server():
        pytest.skip(NO_SERVER)
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def prefix():
    """A prefix that no other test uses."""
    return f"test{os.getpid()}-{next(_numbers)}"
