"""What a chat client talks to, one file each."""
