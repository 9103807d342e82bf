"""What is unequal: counts, associations, lint."""
