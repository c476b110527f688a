"""The bin itself: camera to decision. `smartbin run`, `classify` and `doctor` live here; never torch."""
