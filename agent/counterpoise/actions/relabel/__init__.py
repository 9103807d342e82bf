"""False negatives, found and relabelled: labels of records, and passages of retrieval instances."""
