"""The contract between the stages: images, brightness, preprocessing, predictions, the model bundle, its runtimes."""

import os

__version__ = "0.1.0"

# ONNX Runtime's official builds (1.32 does) send what is run to their maker, and keep an identifier and a database in
# the cache folder, unless they are told not to before they are imported. A bin in somebody's kitchen tells nobody, and
# writes nothing to its card but its own store. The name has changed between versions; 0 in the environment allows it.
for _name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
    os.environ.setdefault(_name, "1")
