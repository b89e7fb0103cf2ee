"""together."""

from importlib.metadata import version

from calls import KEY, run
from together import Together


def make(url):
    # Until release 2 the version of the API was a part of the base URL.
    base_url = f"{url}/v1" if version("together").startswith("1.") else url
    client = Together(api_key=KEY, base_url=base_url)
    messages = [{"role": "user", "content": "hi"}]
    return {
        "chat": lambda: (
            client.chat.completions.create(model="llama-x", messages=messages)
            .choices[0]
            .message.content
        ),
        "embeddings": lambda: (
            client.embeddings.create(model="embed-x", input="one").data[0].embedding
        ),
    }


run(make)
