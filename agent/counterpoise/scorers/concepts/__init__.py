"""Which records mention a concept."""
