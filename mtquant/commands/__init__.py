"""The commands of ``mtquant`` besides training and deploying."""
