"""NetInfo's client library: find a domain, open it, read it, change it."""
