"""The Python interface: the commands' own path, called from Python. `import clipcli` offers all of it, lazily."""
