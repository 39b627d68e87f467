"""The command line, with a module for each command.

Read `inputs`, `data`, `inspect_model`, `sweep`, `shift`, `demo`, `main`.
"""
