"""The HTTP side of accounts: signing in, second factors, and pages of signed-in users."""

from typing import Any, get_args

from tvDatafeed.testing.accounts.accounts import Account, AccountService, Cookies, Factor, Outcome
from tvDatafeed.testing.wire.http11 import Reply, Request
from tvDatafeed.testing.wire.payloads import to_json

SIGNIN_PATH = "/accounts/signin/"

_FACTOR_PATHS: dict[str, Factor] = {
    f"/accounts/two-factor/signin/{factor}/": factor for factor in get_args(Factor)
}
_PAGES = frozenset({"/", "/chart/"})
_COOKIE_LIFETIME_S = 30 * 24 * 3600
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>TradingView</title></head>
<body><script>var is_authenticated = {is_authenticated}; var user = {user};</script>
</body></html>
"""
# The page of an anonymous visitor has no auth_token; clients conclude that cookies expired.
_GUEST = {"username": "Guest", "is_pro": False}
# The texts of captcha, rate limit and lock-out were reported by users, the last without a code;
# other texts are made up.
_REFUSALS: dict[Outcome, dict[str, Any]] = {
    "wrong_password": {"error": "Invalid username or password", "code": "invalid_credentials"},
    "captcha": {
        "error": "Please confirm that you are not a robot by clicking the captcha box.",
        "code": "recaptcha_required",
    },
    "locked_out": {"error": "You have been locked out. Please try again later."},
    "rate_limit": {
        "error": "We're having a little trouble with that request. Try again a little later.",
        "code": "rate_limit",
    },
    "second_factor": {
        "error": "2FA_required",
        "code": "2FA_required",
        "message": "Second authentication factor is needed",
    },
    "wrong_code": {"error": "Invalid code", "code": "2FA_invalid_credential"},
    "no_cookies": {"error": "Sign in first", "code": "2FA_invalid_credential"},
    "too_many_codes": {"error": "Too many codes", "code": "2FA_too_many_requests"},
}


def account_reply(request: Request, accounts: AccountService) -> Reply | None:
    """Return the reply to a request about accounts; None for other requests."""
    if request.method == "GET" and request.path in _PAGES:
        return _page(request, accounts)
    if request.method == "POST" and request.path == SIGNIN_PATH:
        return _sign_in(request, accounts)
    if request.method == "POST" and request.path in _FACTOR_PATHS:
        return _second_factor(request, accounts)
    return None


def _page(request: Request, accounts: AccountService) -> Reply:
    account = accounts.visitor(request.cookies)
    user = _GUEST if account is None else _user(account, accounts.issue(account))
    is_authenticated = to_json(account is not None)
    page = _PAGE.format(is_authenticated=is_authenticated, user=to_json(user))
    reply = Reply(200, page.encode())
    if account is None or not accounts.rules.rotate_cookies:
        return reply
    return _with_cookies(reply, _rotated(request, account, accounts))


def _sign_in(request: Request, accounts: AccountService) -> Reply:
    form = request.form
    outcome, account = accounts.sign_in(form.get("username", ""), form.get("password", ""))
    if outcome == "success" and account:
        return _success(account, accounts.admit(account), accounts)
    if outcome == "second_factor" and account:
        body = _REFUSALS[outcome] | {"two_factor_types": [{"name": account.second_factor}]}
        return _with_cookies(_json(200, body), accounts.admit(account, is_whole=False))
    if outcome == "rate_limit":
        return _too_many(accounts.rules.rate_limit_status, outcome, accounts)
    return _json(accounts.rules.refusal_status, _REFUSALS[outcome])


def _second_factor(request: Request, accounts: AccountService) -> Reply:
    factor = _FACTOR_PATHS[request.path]
    outcome, account = accounts.check_code(factor, request.form.get("code", ""), request.cookies)
    if outcome == "success" and account:
        return _success(account, _rotated(request, account, accounts), accounts)
    if outcome == "too_many_codes":
        return _too_many(429, outcome, accounts)
    return _json(403 if outcome == "no_cookies" else 400, _REFUSALS[outcome])


def _success(account: Account, cookies: Cookies, accounts: AccountService) -> Reply:
    if accounts.rules.success_as_html:
        page = _PAGE.format(is_authenticated="true", user="{}")
        return _with_cookies(Reply(200, page.encode()), cookies)
    error = {"error": ""} if accounts.rules.empty_error else {}
    body = {**error, "user": _user(account, accounts.issue(account))}
    return _with_cookies(_json(200, body), cookies)


def _too_many(status: int, outcome: Outcome, accounts: AccountService) -> Reply:
    reply = _json(status, _REFUSALS[outcome])
    if status == 200:  # noqa: PLR2004 - a success has no Retry-After
        return reply
    return reply.with_headers(("Retry-After", str(accounts.rules.retry_after_s)))


def _rotated(request: Request, account: Account, accounts: AccountService) -> Cookies:
    accounts.sign_out(request.cookies.get("sessionid", ""))
    return accounts.admit(account)


def _json(status: int, body: dict[str, Any]) -> Reply:
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    return Reply(status, to_json(body).encode(), headers)


def _with_cookies(reply: Reply, cookies: Cookies) -> Reply:
    values = {
        "sessionid": cookies.sessionid,
        "sessionid_sign": cookies.sessionid_sign,
        "device_t": cookies.sessionid[::-1],
    }
    attributes = f"Path=/; Max-Age={_COOKIE_LIFETIME_S}; HttpOnly; SameSite=Lax"
    headers = (("Set-Cookie", f"{name}={value}; {attributes}") for name, value in values.items())
    return reply.with_headers(*headers)


def _user(account: Account, token: str) -> dict[str, Any]:
    return {
        "id": account.id,
        "username": account.username,
        "first_name": "",
        "last_name": "",
        "reputation": 0.0,
        "following": 0,
        "followers": 0,
        "notification_count": {"following": 0, "user": 0},
        "session_hash": f"hash{account.id}",
        "private_channel": f"private_{account.id}",
        "auth_token": token,
        "date_joined": "2020-01-01T00:00:00",
        "is_pro": bool(account.plan),
        "pro_plan": account.plan,
        "active_broker": None,
    }
