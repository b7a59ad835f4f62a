"""The made-up market: its listings, calendars, clock and bars."""
