"""Documents that people write: YAML and JSON, read to the letter and told where each part stands."""
