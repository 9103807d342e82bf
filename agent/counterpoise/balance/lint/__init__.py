"""What a data set gives away without a model."""
