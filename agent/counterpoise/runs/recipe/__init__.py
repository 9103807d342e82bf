"""What a run recommends as an object: fitted, saved, used."""
