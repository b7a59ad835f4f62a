"""The methods of the server that tests use to query and change its accounts."""

from collections.abc import Iterable

from tvDatafeed.testing.accounts.accounts import (
    Account,
    AccountService,
    Cookies,
    Login,
    SignInRules,
)
from tvDatafeed.testing.journal import Journal


class AccountControls(SignInRules):
    """The part of the server that queries and changes its accounts; see also `SignInRules`.

    Parameters
    ----------
    accounts
        The initial accounts.
    journal
        The record of what the server has seen.
    """

    def __init__(self, accounts: Iterable[Account], journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self._accounts = AccountService(accounts, self, journal)

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts by their names."""
        return {account.username: account for account in self._accounts.all()}

    @property
    def logins(self) -> list[Login]:
        """All attempts to sign in and all codes, in order."""
        return self._journal.copy("logins")

    @property
    def tokens_issued(self) -> int:
        """How many tokens were issued: by signing in, by pages and by `issue_token`."""
        return self._accounts.tokens.issued

    def add_account(self, account: Account) -> None:
        """Add or replace an account and reset its count of wrong passwords."""
        self._accounts.add(account)

    def issue_token(self, account: Account | str) -> str:
        """Return a new token of an account, as its page contains it."""
        return self._accounts.issue(self._account(account))

    def issue_cookies(self, account: Account | str) -> Cookies:
        """Return new cookies of an account, as a browser has them after signing in."""
        return self._accounts.admit(self._account(account))

    def expire_tokens(self, *, now: bool = False) -> None:
        """Expire all tokens issued so far, even before their ``exp``.

        Parameters
        ----------
        now
            Also apply `expired_token_is` to the open connections that use them. By default, a
            token is checked only when a client sends it.
        """
        self._accounts.tokens.expire()
        self._recheck(now=now)

    def revoke(self, token: str, *, now: bool = False) -> None:
        """Expire one token, even of another server; `now` is as in `expire_tokens`."""
        self._accounts.tokens.expire(token)
        self._recheck(now=now)

    def expire_cookies(self) -> None:
        """Sign out all users: the cookies issued so far become invalid."""
        self._accounts.sign_out()

    def _account(self, account: Account | str) -> Account:
        return self.accounts[account] if isinstance(account, str) else account

    def _recheck(self, *, now: bool) -> None:
        for client in self._journal.clients() if now else ():
            client.recheck()
