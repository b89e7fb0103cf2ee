"""replicate."""

from calls import run
from replicate.client import Client


def make(url):
    client = Client(api_token="r8_abcdefghijklmnopqrstuvwxyz0123456789", base_url=url)
    return {
        "prediction": lambda: client.predictions.create(version="v1", input={"prompt": "hi"}).id,
        "get": lambda: client.predictions.get("p1").status,
        "model": lambda: client.models.get("octo/cat").name,
    }


run(make)
