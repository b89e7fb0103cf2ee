"""Exchanges: decided on, answered from a store or by the upstream, and recorded."""
