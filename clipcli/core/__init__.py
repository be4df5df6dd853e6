"""Types and helpers that every layer uses: encoders, vectors, devices, the console, files."""
