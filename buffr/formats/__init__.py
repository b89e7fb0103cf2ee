"""Formats of bodies, with one reader each: content codings, multipart, JSON text and JSONPath."""
