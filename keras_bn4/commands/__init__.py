"""The command line, with a module for each command.

Two modules help them: one reads models and data, and one makes the advice that the
command `keras_bn4 inspect` prints.

Read `inputs`, `advice`, `inspect_model`, `sweep`, `miniature`, `main`.
"""
