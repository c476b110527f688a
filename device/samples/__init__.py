"""Learning from mistakes: pictures worth a label, the labels, what they say of the accuracy, and the data set."""
