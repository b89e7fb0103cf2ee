"""Formats of bodies: content codings, multipart, JSON text and JSONPath, one reader each."""
