"""huggingface_hub."""

from calls import run
from huggingface_hub import HfApi


def make(url):
    client = HfApi(endpoint=url, token="hf_abcdefghijklmnopqrstuvwxyzABCDEFGH")
    return {
        "whoami": lambda: client.whoami()["name"],
        "model": lambda: client.model_info("octo/cat").id,
        "models": lambda: [one.id for one in client.list_models(author="octo", limit=2)],
        "new repo": lambda: client.create_repo("octo/new", private=True).repo_id,
    }


run(make)
