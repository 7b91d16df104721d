"""What `make fuzz` runs: parsers of both dialects fed by a fuzzer that sees what they execute."""
