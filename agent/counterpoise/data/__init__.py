"""In and out: files, tables, retrieval data, patches, encoders."""
