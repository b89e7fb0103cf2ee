"""Redis or Valkey as the store that many processes and machines share."""
