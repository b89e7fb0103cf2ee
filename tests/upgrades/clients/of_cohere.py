"""cohere."""

import cohere
from calls import KEY, run


def make(url):
    client = cohere.ClientV2(api_key=KEY, base_url=url)
    messages = [{"role": "user", "content": "hi"}]
    return {
        "chat": lambda: client.chat(model="command-x", messages=messages).message.content[0].text,
        "rerank": lambda: (
            client.rerank(model="rerank-x", query="q", documents=["a", "b"]).results[0].index
        ),
        "embed": lambda: (
            client.embed(
                model="embed-x", texts=["a"], input_type="search_query", embedding_types=["float"]
            ).id
        ),
    }


run(make)
