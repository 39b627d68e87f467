"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `errors`, `models`, `argument_names`, `arguments`,
`attributes`, `batches`, `files`, `records`, `tables`, `figures`.
"""
