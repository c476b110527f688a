"""The bin's page: what it sees and decided, labels, models, metrics and health, over HTTP. Needs `smartbin[page]`."""
