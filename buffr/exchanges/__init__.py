"""The way of an exchange: decided on, answered from a store or by the upstream, recorded."""
