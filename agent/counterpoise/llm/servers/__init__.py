"""Model servers of our own: started, watched, ended."""
