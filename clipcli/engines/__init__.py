"""Engines that run a model: torch with open_clip, or ONNX Runtime and OpenVINO with a bundle."""
