"""What the bin did, on disk: the SQLite file that holds every event, its writer thread and its readers."""
