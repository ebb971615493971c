"""The web console: a page on which a class sees every message as it happens, and what its bytes mean.

`history` remembers the latest messages, `metrics` counts them for Prometheus, `app` serves both to a browser on this
machine. Nothing on the page comes from elsewhere, and nothing on it changes anything.
"""
