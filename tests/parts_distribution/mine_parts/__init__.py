"""Parts of a user's own: a package that knows Counterpoise, and that Counterpoise does not know."""
