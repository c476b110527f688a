"""The contract between the stages: images, brightness, preprocessing, predictions, the model bundle, its runtimes."""

__version__ = "0.1.0"
