"""Queries with passages that answer them and passages that do not."""
