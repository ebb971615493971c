"""The commands over captures: dissect, capture, replay, wireshark."""
