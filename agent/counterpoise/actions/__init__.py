"""What may be done about a deficit; one file an action."""
