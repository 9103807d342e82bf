"""Changes of labels as files that can be applied and taken back."""
