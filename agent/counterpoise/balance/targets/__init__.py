"""How many records a cell should have: one file a rule."""
