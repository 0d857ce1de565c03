"""Configuration: YAML files read into frozen models, and a tape assembled from them."""
