"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `errors`, `models`, `arguments`, `batches`, `files`,
`records`, `tables`, `figures`.
"""
