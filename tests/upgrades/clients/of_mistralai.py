"""mistralai."""

from calls import KEY, run

try:
    from mistralai import Mistral
except ImportError:
    from mistralai.client import Mistral


def make(url):
    client = Mistral(api_key=KEY, server_url=url)
    messages = [{"role": "user", "content": "hi"}]
    return {
        "chat": lambda: (
            client.chat.complete(model="mistral-x", messages=messages).choices[0].message.content
        ),
        "models": lambda: [model.id for model in client.models.list().data],
        "embeddings": lambda: (
            client.embeddings.create(model="mistral-embed", inputs=["one"]).data[0].embedding
        ),
    }


run(make)
