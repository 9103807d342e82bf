"""Reference runs: what the product decides on made data, held fast by hashes (see `runs`)."""
