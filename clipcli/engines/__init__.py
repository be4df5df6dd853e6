"""What runs a model: torch with open_clip, or ONNX Runtime over a bundle."""
