"""No password, code, cookie or token appears in logs, reprs, errors or pickles."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback

import pytest

from tests.auth.accounts import ANN, FAULTS, PASSWORD, SECRET, TEXT, authenticator, cookies_of
from tvDatafeed.auth import Credentials
from tvDatafeed.auth.cache import CachedLogin, TokenCache
from tvDatafeed.auth.signin import SignedIn
from tvDatafeed.exceptions import TvDatafeedError
from tvDatafeed.testing import Account, HttpDrip, HttpStall, HttpStatus


@pytest.mark.slow
def test_no_secret_appears_anywhere(server, caplog, cache_file):
    """With all logs at DEBUG no secret is in a record, a repr, an error or its pickle."""
    caplog.set_level(logging.DEBUG)
    totp = Account("totp", PASSWORD, second_factor="totp", totp_secret=SECRET)
    server.add_account(totp)
    # A server that repeats what it received, as the form had it and in clear.
    cookies = cookies_of(server, ANN)
    code = "024680"
    echo = json.dumps({"error": f"{PASSWORD} canary-p%26%3D%2B%25+%C3%BC {code}"})
    errors, things = [], []

    def attempt(call):
        try:
            call()
        except TvDatafeedError as error:
            errors.append(error)

    for fault in (None, *[fault for fault, *_ in FAULTS if not isinstance(fault, HttpDrip)]):
        if fault is not None:
            server.inject(dataclasses.replace(fault, path="*", times=1))
        for account, more in (
            (ANN, {}),
            (ANN, {"password": "canary-wrong"}),
            (totp, {"totp_secret": SECRET}),
            (TEXT, {"two_factor_code": code}),
            (TEXT, {}),
            (None, cookies),
            (None, {"auth_token": "canary-token"}),
            (None, {"sessionid": "canary-session", "sessionid_sign": "canary-sign"}),
        ):
            limits = {"max_response_time": 0.2} if isinstance(fault, HttpStall) else None
            auth = authenticator(server, account, limits=limits, **more)
            attempt(auth.token)
            attempt(lambda auth=auth: auth.renew(auth.token()))
            # What it is made of may be logged, too.
            things += [auth, auth._auth, auth._session, auth._sign_in]
            attempt(auth.identity)
    server.inject(HttpStatus(path="*", status=200, body=echo.encode()))
    for account in (ANN, TEXT):
        attempt(authenticator(server, account, two_factor_code=code, token_cache=False).token)
    server.clear_faults()
    server.inject(
        HttpStatus(path="/accounts/two-factor/signin/sms/", status=200, body=echo.encode())
    )
    attempt(authenticator(server, TEXT, two_factor_code=code, token_cache=False).token)
    things += [
        TokenCache(),
        TokenCache().find("ann", server.base_url, PASSWORD),
        Credentials("ann", PASSWORD, SECRET, code),
        SignedIn("canary-token", {"auth_token": "canary-token"}, "canary-id", "canary-sign"),
        CachedLogin("ann", "canary-token"),
    ]
    records = [record.getMessage() for record in caplog.records]
    records += [caplog.handler.format(record) for record in caplog.records]
    texts = [
        *records,
        *map(repr, things),
        *map(repr, errors),
        *map(str, errors),
        *["".join(traceback.format_exception(error)) for error in errors],
        *[pickle.dumps(copy.copy(error)).decode("latin-1") for error in errors],
    ]
    assert len(errors) > 20
    kept = json.loads(cache_file.read_text())["logins"]
    secrets = {"canary", "canary-p", SECRET, SECRET.replace(" ", ""), code, *cookies.values()}
    secrets |= {login[name] for login in kept for name in ("token", "sessionid", "sessionid_sign")}
    for text in texts:
        assert not [secret for secret in secrets if secret in text]
