"""The calls that clients in Node and Go make, too."""

import anthropic
import openai
import requests
import stripe
from calls import KEY, run

MESSAGES = [{"role": "user", "content": "Grüße? \N{GRINNING FACE} </a>"}]


def make(url):
    chat = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0).chat.completions
    models = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0).models
    claude = anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0)
    stripe.api_key = KEY.replace("sk-", "sk_test_")
    stripe.api_base = url

    def text(method, path, **named):
        answer = requests.request(method, url + path, timeout=30, **named)
        answer.raise_for_status()
        return answer.text

    def stream():
        chunks = chat.create(model="gpt-x", messages=MESSAGES, stream=True)
        return "".join(chunk.choices[0].delta.content for chunk in chunks)

    return {
        "openai chat": lambda: (
            chat.create(model="gpt-x", messages=MESSAGES, temperature=0.5, max_tokens=64)
            .choices[0]
            .message.content
        ),
        "openai stream": stream,
        "openai models": lambda: models.list().data[0].id,
        "anthropic message": lambda: (
            claude.messages.create(model="claude-x", max_tokens=64, messages=MESSAGES)
            .content[0]
            .text
        ),
        "stripe customer": lambda: (
            stripe.Customer.create(
                email="a@example.com", metadata={"note": "ä b~*", "order": "6735"}
            ).id
        ),
        "stripe customers": lambda: stripe.Customer.list(limit=3).data[0].id,
        "post": lambda: text(
            "POST",
            "/repos/octo/cat/issues",
            json={"title": "<a> & b", "labels": ["bug", "ü"], "ratio": 0.25, "number": 2},
            headers={"Authorization": f"Bearer {KEY}"},
        ),
        "get": lambda: text("GET", "/search/repositories", params={"q": "a b", "sort": "stars"}),
    }


run(make)
