"""HTTP/2 as bytes (RFC 9113): one interface, spoken by two libraries."""
