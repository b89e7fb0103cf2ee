"""openai."""

import openai
from calls import KEY, run

MESSAGES = [{"role": "user", "content": "Grüße?"}]


def make(url):
    client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1")

    def chat():
        answer = client.chat.completions.create(
            model="gpt-x", messages=MESSAGES, temperature=0.5, max_tokens=64
        )
        return answer.choices[0].message.content

    def streamed_chat():
        answer = client.chat.completions.create(model="gpt-x", messages=MESSAGES, stream=True)
        return [chunk.choices[0].delta.content for chunk in answer]

    return {
        "chat": chat,
        "streamed chat": streamed_chat,
        "embeddings": lambda: (
            client.embeddings.create(
                model="text-embedding-x", input=["one", "two"], encoding_format="float"
            )
            .data[0]
            .embedding
        ),
        "models": lambda: [model.id for model in client.models.list()],
        "upload": lambda: (
            client.files.create(file=("data.jsonl", b'{"a": 1}\n'), purpose="batch").id
        ),
    }


run(make)
