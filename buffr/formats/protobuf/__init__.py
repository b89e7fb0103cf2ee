"""Protobuf: the types of messages, and messages as documents of named fields."""
