"""What several folders share, one module for each subject.

Read `quiet`, `arguments`, `models`, `batches`, `files`, `tables`, `figures`.
"""
