"""What every harmonizer has to keep: the public checks and the data they try it on."""
