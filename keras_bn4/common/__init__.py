"""What several folders share, one module for each subject.

Read `quiet`, `backends`, `progress`, `errors`, `argument_names`, `arguments`,
`attributes`, `models`, `batches`, `array_files`, `files`, `tables`, `figures`.
"""
