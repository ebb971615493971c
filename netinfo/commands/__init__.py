"""NetInfo's tools with their historic syntax, and the `ghostports` subcommands of its servers."""
