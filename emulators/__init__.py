"""Everything put together: the lab, its configuration and state, the web console, and the `ghostports` command."""
