"""Webhooks over TLS: certificates are checked, against the authorities of the settings."""

import ssl

import trustme

from tests.delivery.hooks import make_hook
from tests.delivery.receiver import Receiver
from tests.scale import PATIENCE_S
from tvDatafeed.delivery import DeliveryConfig


def test_certificate_is_checked(tmp_path):
    """A receiver with an unknown certificate gets nothing; `ca_file` makes it known."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Receiver() as receiver:
        server = receiver._server
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        url = receiver.url.replace("http:", "https:")
        with make_hook(url, tmp_path) as hook:
            results = []
            hook.results(results.append)
            ids = [hook.send("a.b", 1)]
            assert not hook.flush(0.3)
            assert receiver.requests == []
        assert "certificate" in results[0].error
        config = DeliveryConfig(timeout=5, ca_file=str(tmp_path / "ca.pem"))
        with make_hook(url, tmp_path, config=config) as hook:
            ids += [hook.send("a.b", n) for n in range(3)]
            assert hook.flush(PATIENCE_S)
    assert receiver.accepted == ids
