"""Every command and event as a type; the two `..._wire` modules turn frames into them and back."""
