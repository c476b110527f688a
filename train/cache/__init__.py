"""Photos decoded once, in memory-mapped files: how they are kept, found and trusted."""
