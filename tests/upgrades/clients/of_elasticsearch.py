"""elasticsearch."""

from calls import run
from elasticsearch import Elasticsearch


def make(url):
    client = Elasticsearch(url, basic_auth=("user", "password"))
    return {
        "info": lambda: client.info()["version"]["number"],
        "index": lambda: client.index(index="i", id="1", document={"a": "ä"})["result"],
        "get": lambda: client.get(index="i", id="1")["_source"],
        "search": lambda: client.search(index="i", query={"match_all": {}}, size=3)["hits"][
            "total"
        ],
        "bulk": lambda: client.bulk(operations=[{"index": {"_index": "i"}}, {"a": 1}])["errors"],
    }


run(make)
