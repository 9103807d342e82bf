"""Tests that need a browser: the pages as people see them."""
