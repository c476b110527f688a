"""Checkpoint to model bundle: the ONNX graph, its int8 form, the gates it must pass, its manifest and its card."""
