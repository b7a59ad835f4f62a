"""``python -m tvDatafeed`` is the command line."""

import sys

from tvDatafeed.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
