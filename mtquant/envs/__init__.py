"""Gymnasium and Stable-Baselines3 faces of the simulator.

Import the modules themselves: :mod:`mtquant.envs.scenario` needs neither library, the rest does.
"""
