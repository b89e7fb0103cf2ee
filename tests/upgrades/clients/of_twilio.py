"""twilio."""

from urllib.parse import urlsplit

from calls import run
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client


def make(url):
    class Here(TwilioHttpClient):
        def request(self, method, uri, *arguments, **named):
            parts = urlsplit(uri)
            query = f"?{parts.query}" if parts.query else ""
            return super().request(method, f"{url}{parts.path}{query}", *arguments, **named)

    client = Client("AC" + "0" * 32, "1" * 32, http_client=Here())
    return {
        "message": lambda: client.messages.create(to="+15551", from_="+15552", body="hi ä").sid,
        "messages": lambda: [one.sid for one in client.messages.list(limit=2)],
        "lookup": lambda: client.lookups.v2.phone_numbers("+15551").fetch().phone_number,
    }


run(make)
