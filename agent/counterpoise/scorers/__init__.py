"""Who may say a label or a concept, and how sure."""
