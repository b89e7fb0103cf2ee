"""langchain-openai."""

from calls import KEY, run
from langchain_openai import ChatOpenAI


def make(url):
    client = ChatOpenAI(model="gpt-x", api_key=KEY, base_url=f"{url}/v1", temperature=0.5)
    return {"chat": lambda: client.invoke("hi").content}


run(make)
