"""What everyone speaks: values, errors, events, files. Imports nothing of ours."""
