"""The runs of `clipcli apply` and `clipcli undo`."""
