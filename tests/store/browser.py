"""Headless Chromium, driven by its DevTools protocol over our WebSocket client."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile

import pytest
import websocket

from tests.scale import PATIENCE_S

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Tab:
    """One page, and what its console and its network have said."""

    def __init__(self, connection):
        self._connection = connection
        self._ids = itertools.count(1)
        self._session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Call a method and return its result; events that come before it are kept."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, expression):
        """Return the value of an expression, a promise's after it is fulfilled."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition):
        """Wait until an expression is true, which is looked at with each change of the page."""
        self.evaluate(
            f"""new Promise((done, fail) => {{
                const look = () => ({condition}) && done(true);
                new MutationObserver(look).observe(document, {{
                    subtree: true, childList: true, characterData: true, attributes: true}});
                setTimeout(() => fail(new Error(document.body.innerText)), {PATIENCE_S * 1000});
                look();
            }})"""
        )

    def open(self, url, *, width=1280, dark=False):
        """Open a page at a width, in a scheme of colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def screenshot(self):
        """Return a picture of the whole page, PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def complaints(self):
        """Return what the console and the log have said, violations of the policy among it."""
        self.evaluate("0")
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [event["params"] for event in self.events if event.get("method") in kinds]

    def requested(self):
        """Return the URLs that were requested."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def browser():
    """Start Chromium and give a tab; skip where there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("there is no Chromium here")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        program = subprocess.Popen(
            [
                path,
                "--headless=new",
                "--no-sandbox",  # root has none
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            lines = iter(program.stderr.readline, "")
            listening = next((line for line in lines if "DevTools listening on " in line), None)
            if listening is None:
                pytest.skip("Chromium does not start here")
            url = listening.partition(" on ")[2].strip()
            connection = websocket.create_connection(
                url, timeout=2 * PATIENCE_S, suppress_origin=True
            )
            with contextlib.closing(connection):
                yield Tab(connection)
        finally:
            program.terminate()
            program.communicate(timeout=PATIENCE_S)
