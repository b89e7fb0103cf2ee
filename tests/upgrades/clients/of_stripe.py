"""stripe."""

import stripe
from calls import KEY, run


def make(url):
    stripe.api_key = KEY.replace("sk-", "sk_test_")
    stripe.api_base = url
    stripe.max_network_retries = 2
    return {
        "customer": lambda: (
            stripe.Customer.create(
                email="a@example.com", metadata={"order": "6735", "note": "ä b"}
            ).id
        ),
        "customers": lambda: [one.id for one in stripe.Customer.list(limit=3).data],
        "balance": lambda: stripe.Balance.retrieve().object,
        "intent": lambda: (
            stripe.PaymentIntent.create(
                amount=2000, currency="usd", payment_method_types=["card"]
            ).id
        ),
    }


run(make)
