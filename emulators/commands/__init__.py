"""The subcommands of `ghostports` that belong to the lab; `emulators.cli` says which there are."""
