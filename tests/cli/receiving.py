"""``tvdatafeed deliver receive`` as a program, and a sender of single messages."""

import contextlib
import http.client
import json
import time
from urllib.parse import urlsplit

from tests.programs import start
from tests.scale import PATIENCE_S
from tvDatafeed.delivery import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = json.dumps({"type": "a.b", "data": {"x": 1}}).encode()


@contextlib.contextmanager
def receiver(*options, **settings):
    """Start the receiver on a free port, and return the program and its URL."""
    arguments = ("-m", "tvDatafeed", "deliver", "receive", "--port", "0", *options)
    with start(*arguments, **{"TV_WEBHOOK_SECRET": SECRET} | settings) as program:
        line = program.stderr.readline()
        assert "until Ctrl-C" in line, line + program.stderr.read()
        yield program, line.split()[3].rstrip(",")


def signed(number=1, body=EVENT, secret=SECRET, age_s=0.0):
    """Return the headers of a message."""
    message_id, moment = f"msg_{number}", int(time.time() - age_s)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": sign(secret, message_id, moment, body),
    }


def post(url, headers, body=EVENT, method="POST", path="/"):
    """Post a message, and return the status and the text of the answer."""
    parts = urlsplit(url)
    with contextlib.closing(
        http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_S)
    ) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
