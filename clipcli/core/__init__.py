"""What every layer speaks of: encoders, vectors, devices, the console, files."""
