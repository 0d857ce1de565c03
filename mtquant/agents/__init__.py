"""Agents: an observation in, a target exposure out."""
