"""sendgrid."""

from calls import run
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail


def make(url):
    client = SendGridAPIClient("SG.abcdefghijklmnop.qrstuvwxyz0123456789", host=url)
    mail = Mail("a@example.com", "b@example.com", "subject", "text ä")
    return {
        "send": lambda: client.send(mail).status_code,
        "keys": lambda: client.client.api_keys.get(query_params={"limit": 2}).status_code,
    }


run(make)
