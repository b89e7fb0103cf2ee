"""slack-sdk."""

from calls import run
from slack_sdk import WebClient


def make(url):
    client = WebClient(token="xoxb-1234567890-abcdefghijklmnop", base_url=f"{url}/api/")
    return {
        "post": lambda: client.chat_postMessage(channel="C1", text="hi ä", unfurl_links=False)[
            "ts"
        ],
        "users": lambda: client.users_list(limit=2)["members"],
        "auth": lambda: client.auth_test()["user"],
    }


run(make)
