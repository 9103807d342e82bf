"""What the data is: which columns, cells, filters, students."""
