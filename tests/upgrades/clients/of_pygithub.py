"""PyGithub."""

from calls import run
from github import Auth, Github


def make(url):
    client = Github(
        auth=Auth.Token("ghp_1234567890abcdefghijklmnopqrstuvwxyz"),
        base_url=url,
        seconds_between_requests=0,
        seconds_between_writes=0,
        retry=None,
    )
    repo = client.get_repo("octo/cat")
    return {
        "user": lambda: client.get_user().login,
        "issues": lambda: [one.number for one in repo.get_issues(state="open")],
        "new issue": lambda: repo.create_issue("title", body="ä", labels=["bug"]).number,
        "search": lambda: client.search_repositories("x", sort="stars").totalCount,
    }


run(make)
