"""How WebSocket sessions are replayed, as settings say it."""

from __future__ import annotations

from config_sources import loaded, refused

from buffr.config import WebSocketSettings

BY_KIND = WebSocketSettings(match="type", type_field="kind")


class TestWebSocket:
    def test_by_default_messages_are_compared_as_json(self) -> None:
        (route,) = loaded().reverse
        assert route.websocket == WebSocketSettings(match="json", type_field="type")

    def test_a_reverse_route_says_how(self) -> None:
        text = "reverse: [{target: http://a, websocket: {match: type, type_field: kind}}]\n"
        (route,) = loaded(text).reverse
        assert route.websocket == BY_KIND

    def test_a_host_of_the_forward_proxy_replaces_what_holds_for_all(self) -> None:
        text = """
forward:
  websocket: {match: type, type_field: kind}
  hosts:
    - host: a.example
    - host: b.example
      websocket: {match: any}
"""
        settings = loaded(text).forward
        assert settings is not None
        assert settings.of("a.example").websocket == BY_KIND
        assert settings.of("b.example").websocket == WebSocketSettings(match="any")
        assert settings.of("other.example").websocket == BY_KIND

    def test_another_word_is_refused(self) -> None:
        (line,) = refused("reverse: [{target: http://a, websocket: {match: loose}}]\n")
        assert "reverse[0].websocket.match" in line
        assert "strict, json, any or type" in line
