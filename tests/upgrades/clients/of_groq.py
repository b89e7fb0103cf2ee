"""groq."""

import groq
from calls import KEY, run


def make(url):
    client = groq.Groq(api_key=KEY, base_url=url)
    messages = [{"role": "user", "content": "hi"}]
    return {
        "chat": lambda: (
            client.chat.completions.create(model="llama-x", messages=messages)
            .choices[0]
            .message.content
        ),
        "models": lambda: [model.id for model in client.models.list().data],
    }


run(make)
