"""Captures: packets in and out of files, the conversations they hold, and everything that shows them."""
