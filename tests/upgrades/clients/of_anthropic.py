"""anthropic."""

import anthropic
from calls import KEY, run

MESSAGES = [{"role": "user", "content": "Grüße?"}]


def make(url):
    client = anthropic.Anthropic(api_key=KEY, base_url=url)

    def message():
        answer = client.messages.create(model="claude-x", max_tokens=64, messages=MESSAGES)
        return answer.content[0].text

    def streamed_message():
        with client.messages.stream(model="claude-x", max_tokens=64, messages=MESSAGES) as stream:
            return list(stream.text_stream)

    def with_tool():
        tool = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
        answer = client.messages.create(
            model="claude-x", max_tokens=64, messages=MESSAGES, tools=[tool]
        )
        return answer.content[0].text

    return {"message": message, "streamed message": streamed_message, "with a tool": with_tool}


run(make)
