"""The runs of `clipcli models`."""
