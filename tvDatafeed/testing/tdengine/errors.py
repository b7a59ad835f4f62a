"""TDengine's errors, as far as the loopback server answers with them."""

SYNTAX = 0x2600
BAD_COLUMN = 0x2602
NO_TABLE = 0x2603
BAD_VALUE = 0x2605
TAGS_NOT_MATCHED = 0x260D
BAD_TAG = 0x260E
TOO_LONG_VALUE = 0x2610
BAD_DATABASE_OPTION = 0x2619
ROW_TOO_LONG = 0x263E
NO_PERMISSION = 0x2644
TABLE_EXISTS = 0x0603
OUT_OF_RANGE = 0x060B
OTHER_STABLE = 0x061D
TOO_LONG_STATEMENT = 0x0219
AUTHENTICATION = 0x0357
DATABASE_EXISTS = 0x0381
NO_DATABASE = 0x0388

TEXTS = {
    BAD_COLUMN: "Invalid column name",
    NO_TABLE: "Table does not exist",
    BAD_VALUE: "Invalid value type",
    TAGS_NOT_MATCHED: "Tags number not matched",
    BAD_TAG: "Invalid tag name",
    TOO_LONG_VALUE: "Value is too long",
    BAD_DATABASE_OPTION: "Invalid database option",
    ROW_TOO_LONG: "Row length exceeds max length",
    NO_PERMISSION: "Permission denied or target object not exist",
    TABLE_EXISTS: "Table already exists",
    OUT_OF_RANGE: "Timestamp data out of range",
    OTHER_STABLE: "Table already exists in other supertable",
    TOO_LONG_STATEMENT: "SQL statement too long",
    AUTHENTICATION: "Authentication failure",
    DATABASE_EXISTS: "Database already exists",
    NO_DATABASE: "Database not exist",
}


class SqlError(Exception):
    """A statement cannot be run.

    Parameters
    ----------
    code
        TDengine's code, without its leading 0x8000.
    text
        Its description; default: the documented one.
    """

    def __init__(self, code: int, text: str = "") -> None:
        self.code = code
        self.text: str = text or TEXTS[code]
        super().__init__(f"0x{code:04X} {self.text}")


def syntax_error(near: str) -> SqlError:
    """Return the error for a statement that is not understood."""
    return SqlError(SYNTAX, f'syntax error near "{near[:64]}"')
