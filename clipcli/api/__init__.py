"""The Python interface, built on the code of the commands. `import clipcli` offers all of it, loaded lazily."""
