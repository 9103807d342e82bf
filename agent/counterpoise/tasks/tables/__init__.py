"""Rows of numbers and categories with one label each; read and counted, not run yet."""
