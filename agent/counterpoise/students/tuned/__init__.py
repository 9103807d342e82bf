"""Students that train the weights of an encoder; they need the extra `torch`."""

METHODS = FINE_TUNED, CONTRASTIVE = "fine_tuned", "contrastive"
"""Their names; a folder with the weights to begin with may stand behind one, after `:`."""
