"""What a run leaves to read: figures, plots, `report.html`, runs side by side, TensorBoard."""
