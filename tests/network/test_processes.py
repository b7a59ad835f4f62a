"""Forks, signals, exits and killed servers leave the client working and nothing behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from tests.loopback import impatient
from tests.network.clients import SYMBOL, ask_in_threads, assert_right, run_program
from tests.programs import NO_ACCOUNT
from tests.scale import AT_ONCE_S, PATIENCE_S, at_most
from tvDatafeed import TvDatafeed, TvDatafeedConfig
from tvDatafeed.config import NetworkConfig
from tvDatafeed.network import websocket
from tvDatafeed.testing import LateReply, NoCompletion


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_forked_child_connects_anew(server):
    """The child's call works on its own connection, and the parent's is not disturbed."""
    with TvDatafeed(config=impatient(server)) as tv:
        tv.get_hist(SYMBOL)
        read, write = os.pipe()
        with warnings.catch_warnings():
            # Forking a process with threads is what is tested.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                frame = tv.get_hist(SYMBOL, timezone="UTC")
                os.write(write, str(len(frame)).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(read, 100) == b"10"
        os.close(read)
        assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
        assert server.connections_opened == 2
        assert tv.stats()["connections"] == 1


def _fetch_in_child(tv, queue):
    queue.put(len(tv.get_hist(SYMBOL)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.slow
def test_fork_while_a_lock_is_held(server):
    """A child born in the middle of a parent's call does not inherit its locks."""
    server.inject(LateReply(delay_s=0.3))
    with TvDatafeed(config=impatient(server)) as tv:
        thread = threading.Thread(target=ask_in_threads, args=(tv, [SYMBOL] * 5))
        thread.start()
        assert server.wait_until(lambda s: s.open_sessions)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = context.Process(target=_fetch_in_child, args=(tv, queue))
            child.start()
        assert queue.get(timeout=PATIENCE_S) == 10
        child.join(PATIENCE_S)
        thread.join(PATIENCE_S)
        assert child.exitcode == 0
        queue.close()
        queue.join_thread()


@pytest.mark.slow
def test_script_that_forgets_to_close_ends_cleanly(server):
    """The interpreter exits without a traceback, and the connection is closed."""
    program = """
        from tvDatafeed import TvDatafeed
        tv = TvDatafeed()
        print(len(tv.get_hist("NASDAQ:AAPL")))
        """
    with run_program(program, server) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out.strip(), err) == (0, "10", NO_ACCOUNT)
    assert server.wait_until(lambda s: s.open_connections == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.slow
def test_ctrl_c_in_a_script(server):
    """SIGINT in a call that waits ends the program within the blink of an eye."""
    server.inject(NoCompletion())
    program = """
        from tvDatafeed import TvDatafeed
        try:
            TvDatafeed().get_hist("NASDAQ:AAPL")
        except KeyboardInterrupt:
            print("interrupted")
        """
    with run_program(program, server) as process:
        assert server.wait_until(lambda s: s.open_sessions, timeout_s=PATIENCE_S)
        process.send_signal(signal.SIGINT)
        with at_most(AT_ONCE_S):
            out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out.strip()) == (0, "interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on descriptors there")
@pytest.mark.slow
def test_no_descriptor_left_is_transient(server):
    """Without descriptors the call fails clearly, and works when there are some again."""
    program = """
        import resource, socket
        from tvDatafeed import TvDatafeed, WebSocketError
        tv = TvDatafeed()
        tv.get_hist("NASDAQ:AAPL")  # what is imported late is imported now
        tv.close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        taken = []
        try:
            while True:
                taken.append(socket.socket())
        except OSError:
            pass
        try:
            tv.get_hist("NASDAQ:AAPL")
        except WebSocketError as error:
            print("Too many open files" in str(error), error.retryable)
        for sock in taken:
            sock.close()
        print(len(tv.get_hist("NASDAQ:AAPL")))
        tv.close()
        """
    with run_program(program, server) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert out.split() == ["True", "True", "10"]
    assert "Traceback" not in err
    assert "ResourceWarning" not in err


def serve_in_process(port=0):
    """Run the server in its own process; return the process and its URL."""
    command = [sys.executable, "-m", "tvDatafeed", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "TV_WS_URL" in line:
            return process, "ws://" + line.strip().split("ws://")[1].strip("'\"")
    raise AssertionError("the server did not start")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
@pytest.mark.slow
def test_server_killed_suspended_and_resumed():
    """After a kill or a stop of the server the client reconnects within its backoff."""
    process, url = serve_in_process()
    port = int(url.split(":")[2].split("/")[0])
    network = NetworkConfig(
        ws_url=url,
        base_retry_delay=0.1,
        max_retry_delay=0.5,
        max_retries=100,
        failure_threshold=1000,
        requests_per_minute=6000,
        burst_size=1000,
        silence_timeout=0.5,
        ping_timeout=0.3,
    )
    try:
        with TvDatafeed(config=TvDatafeedConfig(network=network)) as tv:
            assert len(tv.get_hist(SYMBOL)) == 10
            process.kill()
            process.wait(PATIENCE_S)
            process.stdout.close()
            replaced = []
            starter = threading.Thread(target=lambda: replaced.append(serve_in_process(port)[0]))
            starter.start()
            assert len(tv.get_hist(SYMBOL)) == 10
            starter.join(PATIENCE_S)
            process = replaced[0]

            process.send_signal(signal.SIGSTOP)
            # It may run on for a moment after the signal was sent.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            frames = []
            asker = threading.Thread(target=lambda: frames.append(tv.get_hist(SYMBOL)))
            asker.start()
            asker.join(0.5)
            assert not frames
            process.send_signal(signal.SIGCONT)
            with at_most(AT_ONCE_S):
                asker.join(PATIENCE_S)
            assert len(frames[0]) == 10
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()


def test_ctrl_c_in_the_middle_of_a_send_costs_the_connection(server, tv, monkeypatch):
    """After an interrupted send the connection is not used again, and the next call is right."""
    tv.get_hist(SYMBOL)
    send = websocket.Transport.send
    left = [KeyboardInterrupt()]
    caller = threading.current_thread()

    def interrupted(self, *arguments):
        if left and threading.current_thread() is caller:
            raise left.pop()
        send(self, *arguments)

    def ask():
        # The reader, which closes the session before, may send for the caller too.
        while left:
            tv.get_hist(SYMBOL)

    monkeypatch.setattr(websocket.Transport, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask()
    assert_right(server, tv.get_hist(SYMBOL, timezone="UTC"))
    assert server.connections_opened == 2
