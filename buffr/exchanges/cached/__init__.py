"""Mode cache: stored answers, flights that fill the store, and what invalidates it."""
