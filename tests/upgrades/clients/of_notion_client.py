"""notion-client."""

from calls import run
from notion_client import Client


def make(url):
    client = Client(auth="secret_1234567890abcdefghijklmnopqrstuvwxyzABCDEFG", base_url=url)
    page = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    return {
        "page": lambda: client.pages.retrieve(page_id=page)["object"],
        "search": lambda: client.search(query="x")["object"],
        "users": lambda: client.users.list(page_size=2)["object"],
        "append": lambda: client.blocks.children.append(
            block_id=page, children=[{"object": "block", "type": "divider", "divider": {}}]
        )["object"],
    }


run(make)
