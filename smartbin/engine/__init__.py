"""TensorRT engines: built on the device once, kept in a cache, loaded ever after."""
