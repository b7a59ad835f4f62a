"""Quote sessions beside a chart session of the same client."""

from tests.testing.client import named, names


class TestQuotes:
    def test_fields_that_were_asked_for(self, client):
        """A quote holds the fields asked for, under the exact string asked with."""
        asked = '={"symbol":"NASDAQ:AAPL","session":"regular"}'
        client.text()
        client.say("quote_create_session", "qs_1")
        client.say("quote_set_fields", "qs_1", "lp", "volume", "no_such_field")
        client.say("quote_add_symbols", "qs_1", asked, "SP:SPX")
        stock, stock_done, index, index_done = client.messages()
        assert stock["p"][1]["n"] == asked
        assert stock["p"][1]["v"].keys() == {"lp", "volume"}
        assert stock_done["p"] == ["qs_1", asked]
        assert index["p"][1]["v"]["volume"] == 1e100
        assert index_done["p"] == ["qs_1", "SP:SPX"]

    def test_all_fields(self, client):
        """Without a choice of fields a quote holds them all, and agrees with the daily bar."""
        client.greet()
        client.say("quote_create_session", "qs_1")
        client.say("quote_add_symbols", "qs_1", "NASDAQ:AAPL")
        values = client.messages()[0]["p"][1]["v"]
        bar = named(client.history(), "timescale_update")["p"][1]["sds_1"]["s"][-1]["v"]
        assert {"ch", "chp", "short_name", "description", "timezone"} < values.keys()
        assert values["lp"] == bar[4]
        assert values["current_session"] == "market"

    def test_deleted_quote_session(self, client):
        """A deleted quote session is unknown."""
        client.text()
        client.say("quote_create_session", "qs_1")
        client.say("quote_delete_session", "qs_1")
        client.say("quote_add_symbols", "qs_1", "NASDAQ:AAPL")
        (error,) = client.messages()
        assert error["m"] == "protocol_error"
        assert error["p"][0].startswith('{unknown_session_id,<<"quote_add_symbols">>,<<"qs_1">>')

    def test_unknown_commands(self, client):
        """Commands of newer clients are ignored."""
        client.greet()
        client.say("depth_create_session", "ds_1")
        client.say("modify_study", "cs_plain", "st1", "st1", {})
        client.say("set_locale", "en", "US")
        client.say("set_data_quality", "low")
        client.say("something_new")
        assert names(client.history())[-1] == "series_completed"
