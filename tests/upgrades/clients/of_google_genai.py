"""google-genai."""

from calls import run
from google import genai
from google.genai import types


def make(url):
    client = genai.Client(
        api_key="AIzaSyA1234567890abcdefghijklmnopqrstuv",
        http_options=types.HttpOptions(base_url=url, api_version="v1beta"),
    )
    config = types.GenerateContentConfig(temperature=0.5, max_output_tokens=64)

    def stream():
        chunks = client.models.generate_content_stream(model="gemini-x", contents="hi")
        return [chunk.text for chunk in chunks]

    return {
        "generate": lambda: (
            client.models.generate_content(model="gemini-x", contents="hi", config=config).text
        ),
        "stream": stream,
        "tokens": lambda: client.models.count_tokens(model="gemini-x", contents="hi").total_tokens,
        "embed": lambda: (
            client.models.embed_content(model="embed-x", contents="hi").embeddings[0].values
        ),
    }


run(make)
