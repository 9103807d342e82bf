"""Plain data to pages and screens."""
